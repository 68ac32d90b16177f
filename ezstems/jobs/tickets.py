"""Tickets: messages by which separation processes hear that a job waits.

Rows are the truth. A ticket doesn't say which job is next; there only have to be as many as jobs that wait. One too
many does no harm, and one that was lost is made good here.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, Full, Queue

from celery import Celery
from flask import Flask
from kombu import Connection
from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError

from ezstems.errors import DatabaseLost
from ezstems.jobs.celery_app import QUEUE, TASK
from ezstems.jobs.turn import TICKETS, turn
from ezstems.models import shared_queue

log = logging.getLogger(__name__)

COMPARE_EVERY_SECONDS = 4.0
# What waits to be sent, while the broker is slow: past that, it is made good by comparing.
MOST_UNSENT = 10_000
MOST_AT_ONCE = 5000
NOT_FOUND = "404"  # of AMQP; Redis's transport says the same


class Tickets:
    """Send tickets in a thread of its own, and compare them with the rows every few seconds."""

    def __init__(self, app: Flask, celery: Celery) -> None:
        self._app = app
        self._celery = celery
        self._acts: Queue[Callable[[Connection], None]] = Queue(MOST_UNSENT)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._missing = 0  # at the last look
        self._last = 0  # the last number that was queued then: the tickets of later ones may be on their way
        self.trouble: str | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="tickets", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Send what waits, and end the thread."""
        self._stop.set()
        self._put(lambda _connection: None)
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def send(self, number: int, job_id: str) -> None:
        """Have a job's ticket sent."""
        self._put(partial(self._publish, number, job_id))

    def revoke(self, job_id: str) -> None:
        """Have the ticket of a job taken back that waited and was deleted."""
        self._put(lambda connection: self._celery.control.revoke(job_id, connection=connection))

    def _put(self, act: Callable[[Connection], None]) -> None:
        try:
            self._acts.put_nowait(act)
        except Full:
            log.debug("the broker is slow, and a ticket is left to be made good")

    def _run(self) -> None:
        connection = self._connection()
        compare_seconds = time.monotonic() + COMPARE_EVERY_SECONDS
        while not (self._stop.is_set() and self._acts.empty()):
            try:
                act = self._acts.get(timeout=max(0.0, compare_seconds - time.monotonic()))
            except Empty:
                act, compare_seconds = self._compare, time.monotonic() + COMPARE_EVERY_SECONDS
            try:
                act(connection)
            except (SQLAlchemyError, DatabaseLost) as error:
                self._note(f"the database failed ({type(error).__name__})")
            except (OperationalError, OSError, *connection.connection_errors, *connection.channel_errors) as error:
                self._note(f"the broker can't be reached: {' '.join(str(error).split()) or type(error).__name__}")
                connection = self._reconnect(connection)
            except Exception:
                log.exception("tickets can't be sent, which is tried again")
                connection = self._reconnect(connection)
            else:
                if act == self._compare:
                    self._note(None)
        connection.release()

    def _connection(self) -> Connection:
        return self._celery.connection_for_write()

    def _reconnect(self, connection: Connection) -> Connection:
        """Return another connection; what waited to be sent is made good once there is one."""
        while not self._acts.empty():
            self._acts.get()
        connection.collect()
        return self._connection()

    def _note(self, trouble: str | None) -> None:
        """Log a trouble when it begins and when it is over."""
        if trouble is not None and self.trouble is None:
            log.error("no tickets are sent now, the jobs wait: %s", trouble)
        elif trouble is None and self.trouble is not None:
            log.info("tickets are sent again")
        self.trouble = trouble

    def _publish(self, number: int, job_id: str, connection: Connection) -> None:
        self._celery.send_task(TASK, args=(number,), task_id=job_id, connection=connection, retry=False)

    def _compare(self, connection: Connection) -> None:
        """Send as many tickets as were missing in two looks, one process at a time; each looks at the broker itself."""
        ready = self._ready(connection)  # also where nothing waits: whether the broker is there, /health says
        with self._app.app_context(), turn(TICKETS) as is_ours:
            if not is_ours:
                return
            waiting, self._last = shared_queue.length_up_to(self._last)
            before, self._missing = self._missing, max(0, waiting - ready)
            count = min(before, self._missing, MOST_AT_ONCE)
            if count <= 0:
                return
            for number, job_id in shared_queue.first(count):
                self._publish(number, job_id, connection)
            self._missing = 0
            log.warning("%s jobs waited without a ticket, which was sent again", count)

    def _ready(self, connection: Connection) -> int:
        """Count the tickets that wait at the broker; a queue that isn't there, as after its loss, holds none."""
        with connection.channel() as channel:
            try:
                return int(channel.queue_declare(queue=QUEUE, passive=True).message_count)
            except connection.channel_errors as error:
                if str(getattr(error, "reply_code", "")) == NOT_FOUND:
                    return 0
                raise


