"""The instance folder: make it, match it with its database, and write into it as its owner."""
