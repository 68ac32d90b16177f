"""A separation box in the test's own process: it takes tickets from the real broker, and separates as its test says."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from flask import Flask

from ezstems.database import db
from ezstems.jobs.celery_app import make_celery
from ezstems.jobs.heartbeat import DEAD_SECONDS
from ezstems.jobs.queue import JobQueue
from ezstems.jobs.separation_process import SeparationProcess
from ezstems.jobs.tickets import Tickets
from ezstems.models import SeparationWorker, shared_queue

LOOK_EVERY_SECONDS = 0.1
STOP_SECONDS = 30.0


def fill_queue(patch: pytest.MonkeyPatch) -> None:
    """Let no further job wait, on one box or in a cluster."""
    patch.setattr(JobQueue, "full", property(lambda _self: True))
    patch.setattr(shared_queue, "length", lambda most: most)


class _Process(SeparationProcess):
    """Separate in a thread, which no signal reaches."""

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        yield

    def _end(self) -> None:
        raise AssertionError("a separation heeds no stop: a process of its own would be ended now")


class _Child:
    """Take tickets one at a time, as a child of Celery's worker does."""

    def __init__(self, app: Flask) -> None:
        self._celery = make_celery(app.config)
        self._stop = threading.Event()
        tickets = Tickets(app, self._celery)
        self.process = _Process(app, app.config["SEPARATOR"], tickets, self._stop.is_set)
        self._thread = threading.Thread(target=self._run, name="separation box")

    def start(self) -> None:
        self.process.start()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(STOP_SECONDS)
        assert not self._thread.is_alive(), "the separation goes on"
        self.process.close()

    def _run(self) -> None:
        tickets = self._celery.amqp.TaskConsumer
        with self._celery.connection_for_read() as connection, tickets(connection, on_message=self._take) as consumer:
            consumer.qos(prefetch_count=1)
            while not self._stop.is_set():
                with suppress(socket.timeout):
                    connection.drain_events(timeout=LOOK_EVERY_SECONDS)

    def _take(self, message: Any) -> None:
        if self.process.run_next():
            message.ack()
        else:
            message.requeue()


class SeparationBox:
    """Separate for an app of a cluster, as many songs at a time as it says."""

    def __init__(self, app: Flask) -> None:
        self._children = [_Child(app) for _ in range(app.config["EZSTEMS_SEPARATIONS"])]
        for child in self._children:
            child.start()
        with app.app_context():  # until all have said that they live
            deadline = time.monotonic() + STOP_SECONDS
            while len(SeparationWorker.models_of_living(DEAD_SECONDS)) < len(self._children):
                assert time.monotonic() < deadline, "a separation box doesn't start"
                db.session.rollback()
                time.sleep(0.01)
            db.session.remove()

    def running(self) -> set[int]:
        """Return the numbers of the jobs that run."""
        return {child.process._running for child in self._children if child.process._running is not None}

    def close(self) -> None:
        """Give back what runs, and end."""
        for child in self._children:
            child.close()
