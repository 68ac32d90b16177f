"""The dispatch of a cluster's web process: jobs wait in their rows, and separation boxes hear of them by Celery."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask, has_app_context
from sqlalchemy.exc import SQLAlchemyError

from ezstems.errors import ServerFull
from ezstems.jobs import heartbeat
from ezstems.jobs.archive import Archive
from ezstems.jobs.celery_app import make_celery
from ezstems.jobs.tickets import Tickets
from ezstems.jobs.turn import SEATS
from ezstems.models import QUEUED, Job, SeparationWorker, shared_queue

log = logging.getLogger(__name__)

STOP_SECONDS = 2.0
NO_WORKERS = "No separation box is running. Uploads are accepted, and wait for one."


class Broker:
    """Have jobs run on other boxes (a `Dispatch`); this process separates nothing."""

    owner: str | None = None

    def __init__(self, app: Flask, worker: str, archive: Archive) -> None:
        self._app = app
        self._archive = archive
        self._worker = worker
        self._seats = app.config["EZSTEMS_QUEUE_SIZE"]
        self._tickets = Tickets(app, make_celery(app.config))

    @property
    def full(self) -> bool:
        """Tell whether no further job may wait, in all the cluster."""
        return shared_queue.length(self._seats) >= self._seats

    def start(self, replace: Callable[[], None]) -> None:
        """Clear up after those that died on this box, and begin to send tickets."""
        self._archive.remove_unfinished(self._worker)
        self._tickets.start()

    def duties(self, waited_seconds: Callable[[], float]) -> Sequence[Callable[[], None]]:
        """Return: give back what dead boxes ran."""
        return (self._give_back,)

    def reserve(self) -> None:
        """Raise ServerFull where as many jobs wait as may."""
        self._require_seat(self._seats)

    def confirm(self) -> None:
        """Count again, with this job, while no other upload of all boxes can: its transaction is about to end."""
        shared_queue.lock(SEATS)
        self._require_seat(self._seats + 1)

    def release(self) -> None:
        """Do nothing: only rows take seats."""

    def add(self, job: Job) -> None:
        """Have a durable job's ticket sent; no request waits for the broker."""
        self._tickets.send(job.number, job.id)

    def remove(self, number: int, job_id: str, *, waited: bool) -> None:
        """Take back the ticket of a job that waited; one that runs stops as soon as its runner sees the row."""
        if waited:
            self._tickets.revoke(job_id)

    def positions(self, jobs: Sequence[Job]) -> dict[int, int]:
        """Return the places of jobs by their numbers, in the one queue of all boxes."""
        # One that was read as waiting, and has just been claimed, was the next to run.
        places = {job.number: int(job.status == QUEUED) for job in jobs}
        return places | shared_queue.places([job.number for job in jobs if job.status == QUEUED])

    def at_once(self) -> int:
        """Return how many separation processes live: each runs one job."""
        return max(1, len(self._models()))

    def model(self) -> str:
        """Name the weights of the separation boxes that live."""
        if not has_app_context():
            with self._app.app_context():
                return self.model()
        return ", ".join(dict.fromkeys(self._models())) or "none, as no separation box is running"

    def health(self) -> dict[str, Any]:
        """Say who separates, and how long the first has waited."""
        try:
            workers, waited_seconds = len(self._models()), shared_queue.oldest_wait_seconds()
        except SQLAlchemyError as error:  # which the desk has told
            log.debug("the database failed", exc_info=error)
            return {"workers": None, "oldest_wait_seconds": None}
        health: dict[str, Any] = {"workers": workers, "oldest_wait_seconds": waited_seconds}
        if not workers:
            health |= {"status": "no workers", "message": NO_WORKERS, "model": None}
        if self._tickets.trouble:
            health["problems"] = [f"Accepted jobs wait: {self._tickets.trouble.partition(':')[0]}; the log says why."]
        return health

    def stop(self) -> None:
        """Send what tickets wait."""
        self._tickets.stop(STOP_SECONDS)

    def leave(self) -> None:
        """Do nothing: this process owns no job."""

    def _require_seat(self, too_many: int) -> None:
        if shared_queue.length(too_many) >= too_many:
            raise ServerFull(f"The queue is full: {self._seats} jobs are waiting. Try again later.")

    def _models(self) -> Sequence[str]:
        return SeparationWorker.models_of_living(heartbeat.DEAD_SECONDS)

    def _give_back(self) -> None:
        with self._app.app_context():
            heartbeat.give_back(self._archive, self._tickets.send)
