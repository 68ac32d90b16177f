"""gunicorn's settings: `gunicorn -c python:ezstems.gunicorn_conf wsgi:app`."""

import os
import resource
import signal
import sys
from functools import partial
from typing import Any

from gunicorn import glogging

from ezstems import create_app, log
from ezstems.audio import engine, weights
from ezstems.database import db
from ezstems.errors import ConfigurationError
from ezstems.jobs.worker import EXTENSION

log.configure("error")  # until the settings are known; what they warn of, every worker says again
try:
    # What can't work must not start, and say so in one line instead of a worker's stack trace; so the instance is made
    # and migrated here. Each worker makes an app of its own after the fork, and opens the database anew.
    _app = create_app()
    _settings = _app.config
    engine.check(_settings["EZSTEMS_ENGINE"], _settings["EZSTEMS_PRECISION"])
    weights.require(_settings["EZSTEMS_MODEL"], _settings["EZSTEMS_MODELS"])
    with _app.app_context():
        db.engine.dispose()
except ConfigurationError as error:
    sys.exit(f"ezstems: {error}")

log.configure(_settings["EZSTEMS_LOG_LEVEL"], _settings["EZSTEMS_LOG"])
if _metrics := _app.extensions.get("metrics"):
    _metrics.clear()


class Logger(glogging.Logger):
    """Hand gunicorn's lines to where everybody's go."""

    def setup(self, cfg: Any) -> None:
        """Take gunicorn's own handlers, with a format of theirs, away."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


logger_class = Logger
loglevel = _settings["EZSTEMS_LOG_LEVEL"]
bind = _settings["EZSTEMS_BIND"]
workers = _settings["EZSTEMS_WORKERS"]
threads = _settings["EZSTEMS_THREADS"]
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
control_socket_disable = True
# What proxies say is for EZSTEMS_PROXIES alone: by default gunicorn believes whoever calls from this machine.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}


def post_worker_init(worker: Any) -> None:
    """Start the queue after the fork."""
    worker.cfg.set("graceful_timeout", REQUESTS_SECONDS)  # the worker's own copy
    # Ctrl-C reaches every process, and the master passes it on besides: gunicorn's handler, cut into by itself, hangs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    if metrics := worker.wsgi.extensions.get("metrics"):
        metrics.start()
    # What the signal of a stop does: the master starts another in its place.
    worker.wsgi.extensions[EXTENSION].start(replace=partial(worker.handle_exit, signal.SIGTERM, None))


def worker_exit(_server: Any, worker: Any) -> None:
    """Give unfinished jobs back to the queue, and end."""
    if hasattr(worker, "wsgi"):
        for again in (signal.SIGQUIT, signal.SIGTERM):
            signal.signal(again, signal.SIG_IGN)
        worker.wsgi.extensions[EXTENSION].close()
    if worker.booted:
        # Without the interpreter's own end, which would wait for stalled clients, and for an import of TensorFlow.
        os._exit(0)
