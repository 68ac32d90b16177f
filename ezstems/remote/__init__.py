"""A client of the API, of this server's and of any that speaks the original's: what `ezstems remote` runs."""

# What a user's environment may name; no settings of a server.
VARIABLES = ("EZSTEMS_SERVER", "EZSTEMS_KEY")
