"""`ezstems serve`: the server, in this very process."""

import os

import click


@click.command()
@click.option("--bind", metavar="ADDRESS", help="HOST:PORT or unix:PATH, in place of EZSTEMS_BIND.")
def serve(bind: str | None) -> None:
    """Serve the API and the website until a signal ends it."""
    if bind is not None:
        os.environ["EZSTEMS_BIND"] = bind
    # Imported here: it makes the instance, by the settings of this moment.
    from ezstems.serving import Gunicorn

    Gunicorn(prog="ezstems serve").run()
