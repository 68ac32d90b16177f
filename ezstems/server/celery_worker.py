"""Celery's worker with our settings: this process keeps the connection to the broker, its children separate."""

import logging
import mmap
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from billiard.process import active_children
from celery import signals
from celery.exceptions import Reject
from celery.platforms import maybe_drop_privileges
from flask import Flask

from ezstems import config, create_app, log
from ezstems.database import db
from ezstems.instance import privileges
from ezstems.instance.folder import hold
from ezstems.jobs import in_child, redis_transport
from ezstems.jobs.celery_app import TASK, make_celery
from ezstems.jobs.separation_process import SeparationProcess
from ezstems.jobs.tickets import Tickets
from ezstems.server import master
from ezstems.server.celery_consumer import Consumer, RedisChannel, Ticket

_log = logging.getLogger(__name__)

# A stop must be over in 10 seconds; a child gives back within 3 what heeds none.
STOP_SECONDS = 8.0
# They tell of every ticket, which says nothing of a job.
CHATTERERS = ("celery.worker.strategy", "celery.app.trace")


class CeleryWorker:
    """Run Celery's worker; an app that was made before the forks is used after them."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._celery = make_celery(app.config)
        self._celery.conf.worker_consumer = Consumer
        redis_transport.Transport.Channel = RedisChannel
        self._stopping = mmap.mmap(-1, 1)  # shared with the children
        self._process: SeparationProcess | None = None
        self._celery.task(self._separate, name=TASK, Request=Ticket)
        signals.setup_logging.connect(_keep_log, weak=False)
        signals.worker_process_init.connect(self._begin_child, weak=False)
        signals.worker_process_shutdown.connect(self._end_child, weak=False)
        signals.worker_shutting_down.connect(self._begin_stop, weak=False)
        signals.worker_ready.connect(_say_ready, weak=False)

    def run(self) -> int:
        """Run until a signal ends it; return the exit code."""
        name = f"ezstems-{os.getpid()}@{socket.gethostname()}"
        worker = self._celery.Worker(
            hostname=name, pool="prefork", quiet=True, without_mingle=True, without_gossip=True
        )
        worker.start()
        return int(worker.exitcode or 0)

    def _separate(self, *_said: Any, **_more: Any) -> None:
        """Run the next job, whatever the ticket says, which another version sent; what waits needs it again."""
        assert self._process is not None
        if not self._process.run_next():
            raise Reject("the job waits again", requeue=True)

    def _begin_child(self, **_: Any) -> None:
        with self._app.app_context():
            db.engine.dispose(close=False)  # a connection of the parent's is the parent's
        tickets = Tickets(self._app, self._celery)
        self._process = SeparationProcess(self._app, self._app.config["SEPARATOR"], tickets, self._is_stopping)
        self._process.start()

    def _end_child(self, **_: Any) -> None:
        if self._process is not None:
            self._process.close()

    def _is_stopping(self) -> bool:
        return self._stopping[0] != 0

    def _begin_stop(self, **_: Any) -> None:
        """Have the children give back what they run, and end at last whatever hangs."""
        self._stopping[0] = 1
        timer = threading.Timer(STOP_SECONDS, _end_at_once)
        timer.daemon = True
        timer.start()


def run(make: Callable[[], Flask] = create_app) -> int:
    """Look at the settings, refuse in one line what can't work, and run the worker."""
    os.umask(privileges.PRIVATE)
    log.configure("critical")  # as `master.begin`
    folder = config.instance_folder()
    if (whose := privileges.owner_to_become(folder)) and privileges.can_become(*whose):
        maybe_drop_privileges(*whose)
    app = master.checked(folder, make, separates=True)
    with in_child.of_a_forking_parent():
        hold(app)
    log.configure(app.config["EZSTEMS_LOG_LEVEL"], app.config["EZSTEMS_LOG"])
    for name in CHATTERERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    return CeleryWorker(app).run()


def _keep_log(**_: Any) -> None:
    """Keep Celery from setting up a log of its own: it does where nobody listens."""


def _say_ready(sender: Any, **_: Any) -> None:
    _log.info("%s: takes jobs, %s at a time", sender.hostname, sender.controller.concurrency)


def _end_at_once() -> None:
    _log.error("the worker could not end in %g seconds; what it left runs again elsewhere", STOP_SECONDS)
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    os._exit(1)
