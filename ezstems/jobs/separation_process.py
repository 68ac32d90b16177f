"""A cluster's separation process: it takes the next job of the shared queue whenever a ticket tells it to."""

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ezstems import database
from ezstems.database import db
from ezstems.errors import DatabaseLost
from ezstems.jobs import heartbeat
from ezstems.jobs.admission import Admission
from ezstems.jobs.background import EngineLoader, Housekeeper
from ezstems.jobs.events import record_event
from ezstems.jobs.preview_maker import PreviewMaker
from ezstems.jobs.runner import Runner, Separating
from ezstems.jobs.storage import open_archive
from ezstems.jobs.tickets import Tickets
from ezstems.jobs.watchdog import Watchdog
from ezstems.models import Instance, Job, shared_queue

log = logging.getLogger(__name__)

HOUSEKEEPING_EVERY_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.2
# A separation notices a stop at its next tile, well within this.
STOP_SECONDS = 3.0
# How long a ticket is held while no job may begin (a full disk); then another box may try.
WAIT_SECONDS = 10.0


class SeparationProcess:
    """Run jobs, one at a time; what this process leaves when it dies, others give back."""

    def __init__(
        self, app: Flask, separate: Separating, tickets: Tickets, is_stopped: Callable[[], bool]
    ) -> None:
        """Hold what separates; `is_stopped` tells that all processes of this box are to end."""
        self.id = uuid.uuid4().hex
        self._app = app
        self._is_stopped = is_stopped
        self._tickets = tickets
        self._stop = threading.Event()  # of this process alone
        self._running: int | None = None
        self._ticket = threading.Lock()  # held while there is one
        self._archive = open_archive(app, self.id)
        self._admission = Admission(app, self._archive, lambda: False)
        self._previews = PreviewMaker(app, self._archive, self._admission.may_begin, self.stopping)
        self._watchdog = Watchdog(
            Runner(app, self.id, self._archive, separate, self.stopping, self._previews.add).run,
            self.id,
            app.config["EZSTEMS_STALL_SECONDS"],
        )
        self._watchdog.replace = self._end
        self._heartbeat = heartbeat.Heartbeat(app, self.id, separate.label)
        self._engine = EngineLoader(self.id, self._stop, separate.warm)
        self._watch = app.extensions[database.WATCH]
        duties = (self._check_database, self._check_progress, self._give_back, separate.drop_idle_networks)
        self._housekeeper = Housekeeper(self.id, self._stop, duties)

    def start(self) -> None:
        """Say that this process lives, and load the engine in the background."""
        self._archive.remove_unfinished(self.id)
        self._heartbeat.start()
        self._housekeeper.start(HOUSEKEEPING_EVERY_SECONDS)
        self._engine.start()
        self._previews.start()
        self._tickets.start()
        threading.Thread(target=self._watch_stop, name="stop", daemon=True).start()
        log.info("worker %s: separates in process %s", self.id, os.getpid())

    def stopping(self) -> bool:
        """Tell whether to give up."""
        return self._stop.is_set() or self._is_stopped()

    def run_next(self) -> bool:
        """Run the next job; return False where its ticket is needed still: it may not begin here, or was given back."""
        with self._ticket:
            number = self._claim()
            if number:
                with self._heeding_signals():
                    self._running = number
                    try:
                        self._watchdog(number)
                    finally:
                        self._running = None
        return number is not None and not self.stopping()

    def close(self) -> None:
        """Say that this process has ended."""
        self._stop.set()
        try:
            self._heartbeat.stop()
        except (SQLAlchemyError, DatabaseLost) as error:
            log.warning("worker %s: it could not say that it ends: %s", self.id, type(error).__name__)
        self._tickets.stop(STOP_SECONDS)

    def _claim(self) -> int | None:
        """Claim the next job once one may begin; return 0 where none waits, None where none may begin."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.stopping() and time.monotonic() < deadline:
            try:
                with self._app.app_context():
                    if self._admission.may_begin():
                        self._heartbeat.beat_if_due()
                        return shared_queue.claim_next(self.id) or 0
            except (SQLAlchemyError, DatabaseLost) as error:
                log.warning("worker %s: no job can be claimed now: %s", self.id, type(error).__name__)
            time.sleep(1.0)
        return None

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        """Take Celery's soft time limit, and a TERM, as what ends the job at its next tile, and not as exceptions."""
        ended: list[int] = []

        def end(number: int, _frame: FrameType | None) -> None:
            ended.append(number)
            self._stop.set()

        def overrun(_number: int, _frame: FrameType | None) -> None:
            self._watchdog.note_overrun()

        before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end)}
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, overrun)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if ended:  # now as it was meant: this process ends, and Celery gives the ticket to another one
                os.kill(os.getpid(), signal.SIGTERM)

    def _watch_stop(self) -> None:
        """Give a job back that doesn't heed a stop, deep in a library; its thread ends with this process."""
        while not self.stopping():
            time.sleep(LOOK_EVERY_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS
        while self._running is not None and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_SECONDS)
        if (number := self._running) is None:
            return
        try:
            with self._app.app_context():
                if Job.interrupt(number, self.id):
                    record_event("interrupted", db.session.get_one(Job, number).id, " in the middle of a step")
        except (SQLAlchemyError, DatabaseLost):
            log.exception("worker %s: job number %s could not be given back", self.id, number)
        self._end()

    def _end(self) -> None:
        """End this process at once; Celery starts another one in its place."""
        self.close()
        os._exit(1)

    def _check_database(self) -> None:
        with self._app.app_context():
            if not self._watch.is_lost():
                self._watch.check_ids(Instance.ids())

    def _check_progress(self) -> None:
        with self._app.app_context():
            self._watchdog.check(self._housekeeper.waited_seconds)

    def _give_back(self) -> None:
        with self._app.app_context():
            if self._ticket.acquire(blocking=False):
                try:  # what a database that lost its last seconds, or an answer that was lost, says that this runs
                    for job_id in shared_queue.give_up(self.id):
                        record_event("interrupted", job_id, ": nothing runs it", level=logging.WARNING)
                finally:
                    self._ticket.release()
            heartbeat.give_back(self._archive, self._tickets.send)
