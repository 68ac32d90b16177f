"""gunicorn's settings, of `ezstems serve` and of `gunicorn -c python:ezstems.gunicorn_conf wsgi:app`."""

import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from flask import Flask
from gunicorn import glogging
from sqlalchemy.exc import SQLAlchemyError

from ezstems import binding, create_app, instance, log, privileges
from ezstems import config as settings  # gunicorn takes the name `config` for a setting of its own
from ezstems.audio import engine, fetch, weights
from ezstems.database import db
from ezstems.errors import ConfigurationError
from ezstems.jobs.worker import EXTENSION

_log = logging.getLogger(__name__)


def _checked() -> Flask:
    """Make an app by the present settings, and the instance with it; raise ConfigurationError where they can't work.

    What can't work must not start, and say so in one line instead of a worker's stack trace. Each worker makes an app
    of its own after the fork, by the `config.py` that was found right here, and opens the database anew.
    """
    try:
        with privileges.inside(_folder), settings.held(_folder):
            app = create_app()
            engine.check(app.config["EZSTEMS_ENGINE"], app.config["EZSTEMS_PRECISION"])
            fetch.recover(app.config["EZSTEMS_MODELS"])
            weights.require(app.config["EZSTEMS_MODEL"], app.config["EZSTEMS_MODELS"])
            with app.app_context():
                db.engine.dispose()
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from error
    return app


def _take(app: Flask) -> None:
    """Give gunicorn what of the settings it can change while it runs, and the log's."""
    global loglevel, workers, threads
    loglevel = app.config["EZSTEMS_LOG_LEVEL"]
    workers = app.config["EZSTEMS_WORKERS"]
    threads = app.config["EZSTEMS_THREADS"]
    log.configure(loglevel, app.config["EZSTEMS_LOG"])
    if metrics := app.extensions.get("metrics"):
        metrics.clear()


class Logger(glogging.Logger):
    """Hand gunicorn's lines to where everybody's go."""

    def setup(self, cfg: Any) -> None:
        """Take gunicorn's own handlers, with a format of theirs, away."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


os.umask(privileges.PRIVATE)
log.configure("error")  # until the settings are known; what they warn of, every worker says again
try:
    _folder = settings.instance_folder()
    _app = _checked()
except ConfigurationError as error:
    sys.exit(f"ezstems: {error}")
instance.serve(_folder)
loglevel: str
workers: int
threads: int
_take(_app)
bind = _app.config["EZSTEMS_BIND"]
# Root's server in another user's folder: its workers are that user's.
if (_whose := privileges.owner(_folder)) and privileges.may_run(*_whose):
    user, group = _whose
    initgroups = True
logger_class = Logger
worker_class = "ezstems.web.connections.Worker"
# Never: the engine's threads, the queue and the life lock belong to the worker process.
preload_app = False
keepalive = 15
# Clients that may be connected to a worker at a time; past that, those make room that are waited for.
worker_connections = 1000
sendfile = False  # the kernel would wait for a slow reader without an end
# A stop must be over in 10 seconds. Of these, a worker waits so long for running requests; the rest is for running
# separations, which notice at their next tile, before the master kills what is left.
REQUESTS_SECONDS = 3
graceful_timeout = 8
timeout = 120
# macOS says that a process may have any number of files, and refuses more than its OPEN_MAX.
MACOS_FILES = 10_240
control_socket_disable = True
# What proxies say is for EZSTEMS_PROXIES alone: by default gunicorn believes whoever calls from this machine.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}


def on_starting(server: Any) -> None:
    """Say which instance it is; refuse an address that is taken; look at the settings before they are reloaded."""
    _log.info("the instance lies in %s", _folder)
    server.handle_hup = partial(_reload, server.handle_hup)
    # Of a server that was started anew by SIGUSR2, or by systemd with its sockets, the address is taken: by itself.
    if server.master_pid or os.environ.get("LISTEN_PID") == str(os.getpid()):
        return
    try:
        for address in server.cfg.address:
            if not isinstance(address, int):
                binding.require_free(address)
    except ConfigurationError as error:
        sys.exit(f"ezstems: {error}")


def _reload(hang_up: Callable[[], None]) -> None:
    """Begin anew with the present settings where they make sense, and go on as before where they don't."""
    try:
        app = _checked()
    except ConfigurationError as error:
        _log.error("nothing is reloaded, the server goes on as it was: %s", error)
        return
    except Exception:  # it would end the server
        _log.exception("nothing is reloaded, the server goes on as it was")
        return
    if app.config["EZSTEMS_BIND"] != bind:
        _log.warning("EZSTEMS_BIND=%r counts from the next start on", app.config["EZSTEMS_BIND"])
    _take(app)
    hang_up()


def post_worker_init(worker: Any) -> None:
    """Start the queue after the fork."""
    worker.cfg.set("graceful_timeout", REQUESTS_SECONDS)  # the worker's own copy
    # Ctrl-C reaches every process, and the master passes it on besides: gunicorn's handler, cut into by itself, hangs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed_files = MACOS_FILES if most_files == resource.RLIM_INFINITY else most_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed_files, most_files))
    if metrics := worker.wsgi.extensions.get("metrics"):
        metrics.start()
    # What the signal of a stop does: the master starts another in its place.
    replace = partial(worker.handle_exit, signal.SIGTERM, None)
    worker.insist(partial(worker.wsgi.extensions[EXTENSION].start, replace=replace))


def worker_exit(_server: Any, worker: Any) -> None:
    """Give unfinished jobs back to the queue, and end."""
    if hasattr(worker, "wsgi"):
        for again in (signal.SIGQUIT, signal.SIGTERM):
            signal.signal(again, signal.SIG_IGN)
        worker.wsgi.extensions[EXTENSION].close()
        # The last connection of all takes SQLite's `-wal` with it, which another database put in this one's place
        # would be spoilt by.
        with worker.wsgi.app_context(), suppress(SQLAlchemyError):
            db.engine.dispose()
    if worker.booted:
        # Without the interpreter's own end, which would wait for stalled clients, and for an import of TensorFlow.
        os._exit(0)
