"""A worker process: what begins in it after the fork, and what it gives back before it ends."""

import fcntl
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ezstems.database import db
from ezstems.errors import ConfigurationError
from ezstems.jobs.desk import EXTENSION

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0
# A stop must be over in 10 seconds. Of these, a worker waits so long for running requests; the rest is for running
# separations, which notice at their next tile, before the master kills what is left.
REQUESTS_SECONDS = 3
# macOS says that a process may have any number of files, and refuses more than its OPEN_MAX.
MACOS_FILES = 10_240


def repeat_until_done(worker: Any, act: Callable[[], None]) -> None:
    """Do what a worker can't begin without until it succeeds, or the worker is to stop.

    The master has found the settings right. What keeps a worker that comes later from starting (a full disk, a
    database that is held) passes, or its operator mends it; a worker that ended now would take the server with it.
    """
    while worker.alive:
        try:
            return act()
        except (ConfigurationError, OSError) as error:
            log.error("this worker can't start, and tries again every %g seconds: %s", AGAIN_SECONDS, error)
        again = time.monotonic() + AGAIN_SECONDS
        while worker.alive and time.monotonic() < again:
            worker.notify()
            time.sleep(0.1)
    sys.exit(0)


def begin(worker: Any) -> None:
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
    repeat_until_done(worker, partial(worker.wsgi.extensions[EXTENSION].start, replace=replace))


def end_waits(worker: Any) -> None:
    """Answer whoever waits for the end of a job."""
    worker.wsgi.extensions[EXTENSION].waits.close()


def _close_database(app: Flask) -> None:
    """Close the database's connections, one worker after the other.

    The last of all takes SQLite's `-wal` with it, which another database put in this one's place would be spoilt by;
    of two that close in the same moment, each sees the other and leaves it.
    """
    turn = os.open(app.instance_path, os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)
    with app.app_context(), suppress(SQLAlchemyError):
        db.engine.dispose()
    os.close(turn)


def end(_arbiter: Any, worker: Any) -> None:
    """Give unfinished jobs back to the queue, and end the process if it is the worker's own."""
    if hasattr(worker, "wsgi"):
        for again in (signal.SIGQUIT, signal.SIGTERM):
            signal.signal(again, signal.SIG_IGN)
        worker.wsgi.extensions[EXTENSION].close()
        _close_database(worker.wsgi)
    if worker.booted:
        # Without the interpreter's own end, which would wait for stalled clients, and for an import of TensorFlow.
        os._exit(0)
