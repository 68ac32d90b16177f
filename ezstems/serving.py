"""gunicorn with the project's own settings, started from wherever the package lies, in any folder."""

from flask import Flask
from gunicorn.app.base import Application

from ezstems import create_app


class Gunicorn(Application):
    """Serve the app by `ezstems.gunicorn_conf` alone: no argument, and no file of the present folder, counts."""

    def load_config(self) -> None:
        """Take the settings, at the start and at every HUP."""
        self.load_config_from_module_name_or_filename("python:ezstems.gunicorn_conf")

    def load(self) -> Flask:
        """Make a worker's app, after the fork."""
        return create_app()
