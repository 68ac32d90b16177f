"""The master process: it looks at the settings before the server starts, and again before they are reloaded."""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn import glogging

from ezstems import cluster, config, create_app, log
from ezstems.database import db
from ezstems.errors import ConfigurationError
from ezstems.instance import privileges
from ezstems.instance.folder import hold
from ezstems.jobs import in_child
from ezstems.network import choice
from ezstems.server import binding
from ezstems.weights import fetch, folders

_log = logging.getLogger(__name__)

Take = Callable[[Flask], None]


class Logger(glogging.Logger):
    """Hand gunicorn's lines to where everybody's go."""

    def setup(self, cfg: Any) -> None:
        """Take gunicorn's own handlers, with a format of theirs, away."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def checked(folder: Path, make: Callable[[], Flask] = create_app, *, separates: bool = False) -> Flask:
    """Make an app by the present settings, and the instance with it; raise ConfigurationError where they can't work.

    What can't work must not start, and say so in one line instead of a worker's stack trace. Each worker makes an app
    of its own after the fork, by the `config.py` that was found right here, and opens the database anew. In a cluster,
    what serves needs neither engine nor weights: only what `separates` does.
    """
    try:
        with privileges.as_owner_of(folder), config.held(folder):
            _require_cluster(config.load(folder), separates=separates)  # first: making the app writes
            with in_child.of_a_forking_parent():
                app = make()
            if separates or app.config["EZSTEMS_BROKER_URL"] is None:
                choice.check(app.config["EZSTEMS_ENGINE"], app.config["EZSTEMS_PRECISION"])
                fetch.recover(app.config["EZSTEMS_MODELS"])
                folders.require(app.config["EZSTEMS_MODEL"], app.config["EZSTEMS_MODELS"])
            with app.app_context():
                db.engine.dispose()
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder}: {error.strerror}") from error
    return app


def _require_cluster(settings: Mapping[str, Any], *, separates: bool) -> None:
    """Raise ConfigurationError unless the settings make one box that serves, or a cluster whose broker is in reach."""
    cluster.require_whole(settings)
    if settings["EZSTEMS_BROKER_URL"] is not None:
        from ezstems.jobs.celery_app import require_broker  # one box alone needs no Celery

        require_broker(settings)
    elif separates:
        raise ConfigurationError("`ezstems worker` needs EZSTEMS_BROKER_URL: without it, `ezstems serve` separates")


def begin() -> tuple[Path, Flask]:
    """Return the instance's folder and an app that can be served; end the process with one line where it can't."""
    os.umask(privileges.PRIVATE)
    log.configure("critical")  # until the settings are known; what they warn of, every worker says again
    try:
        folder = config.instance_folder()
        app = checked(folder)
    except ConfigurationError as error:
        sys.exit(f"ezstems: {error}")
    with in_child.of_a_forking_parent():
        hold(app)
    apply(app)
    return folder, app


def apply(app: Flask) -> None:
    """Log as the settings say, and count from 0."""
    log.configure(app.config["EZSTEMS_LOG_LEVEL"], app.config["EZSTEMS_LOG"])
    if metrics := app.extensions.get("metrics"):
        metrics.clear()


def prepare(arbiter: Any, folder: Path, bind: str, take: Take) -> None:
    """Refuse an address that is taken; look at the settings before gunicorn's master reloads them, and `take` them."""
    _log.info("the instance lies in %s", folder)
    arbiter.handle_hup = partial(_reload, arbiter.handle_hup, folder, bind, take)
    # Of a server that was started anew by SIGUSR2, or by systemd with its sockets, the address is taken: by itself.
    if arbiter.master_pid or os.environ.get("LISTEN_PID") == str(os.getpid()):
        return
    try:
        for address in arbiter.cfg.address:
            if not isinstance(address, int):
                binding.require_free(address)
    except ConfigurationError as error:
        sys.exit(f"ezstems: {error}")


def _reload(hang_up: Callable[[], None], folder: Path, bind: str, take: Take) -> None:
    """Begin anew with the present settings where they make sense, and go on as before where they don't."""
    try:
        app = checked(folder)
    except ConfigurationError as error:
        _log.error("nothing is reloaded, the server goes on as it was: %s", error)
        return
    except Exception:  # it would end the server
        _log.exception("nothing is reloaded, the server goes on as it was")
        return
    if app.config["EZSTEMS_BIND"] != bind:
        _log.warning("EZSTEMS_BIND=%r counts from the next start on", app.config["EZSTEMS_BIND"])
    apply(app)
    take(app)
    hang_up()
