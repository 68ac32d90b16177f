"""EzStems: a self-hosted, drop-in replacement of the EzStems stem-separation API."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask


def create_app(config: Mapping[str, Any] | None = None, *, make: bool = True) -> "Flask":
    """Wire the app; `config` goes before the environment and the instance folder's `config.py`.

    Without `make` it is refused where there is no instance yet.
    """
    # Imported here, so that the rooms that know no web (audio, the model's recipe) load without it.
    from ezstems import jobs, web
    from ezstems.audio.separate import Separator
    from ezstems.instance import folder
    from ezstems.server import request_body

    app = configured(config)
    folder.prepare(app, make=make)
    app.config.setdefault(
        "SEPARATOR",
        Separator(
            app.config["EZSTEMS_MODELS"],
            app.config["EZSTEMS_MODEL"],
            engine=app.config["EZSTEMS_ENGINE"],
            precision=app.config["EZSTEMS_PRECISION"],
            cutoff=app.config["EZSTEMS_CUTOFF"],
            idle_seconds=app.config["EZSTEMS_IDLE_SECONDS"],
            max_duration_seconds=app.config["EZSTEMS_MAX_DURATION_SECONDS"],
        ),
    )
    jobs.Desk(app, app.config["SEPARATOR"])
    request_body.init_app(app)  # before who reads it
    web.init_app(app)
    return app


def configured(config: Mapping[str, Any] | None = None) -> "Flask":
    """Make an app that knows its settings and its database, and has touched neither folder nor database."""
    from flask import Flask

    from ezstems import cluster, database
    from ezstems import config as settings

    config = config or {}
    environ = {**os.environ, **{name: value for name, value in config.items() if name.startswith(settings.PREFIX)}}
    folder = settings.instance_folder(environ)
    app = Flask(__name__, instance_path=str(folder))
    app.config.update(settings.load(folder, environ))
    cluster.require_whole(app.config)
    app.config.update({name: value for name, value in config.items() if not name.startswith(settings.PREFIX)})
    database.init_app(app)
    return app
