"""`/metrics` for Prometheus: each process counts in files of its own, and whichever is asked adds them up.

What happened is counted; what is (jobs that wait, free disk) is looked up when it is asked for.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ezstems.disk import allocate
from ezstems.jobs import current_desk, job_happened
from ezstems.models import PROCESSING, QUEUED, Job
from ezstems.web.request_log import request_answered
from ezstems.webhooks import OUTCOMES, delivery_tried

log = logging.getLogger(__name__)

EXTENSION = "metrics"
EVENTS = ("queued", "started", "completed", "failed", "interrupted", "adopted", "deleted", "stopped", "expired")
# Some 40 rules of URLs, 10 codes and 13 buckets need a third of this. On the disk from the start: a page of a mapped
# file that finds no room there when it is first written to kills the process.
FILE_BYTES = 512 * 1024
KINDS = ("counter", "histogram")
REQUEST_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
SEPARATION_BUCKETS_SECONDS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

blueprint = Blueprint("metrics", __name__)


def init_app(app: Flask) -> None:
    """Add the route; counting begins with `start`, after the fork."""
    app.extensions[EXTENSION] = Metrics(Path(app.instance_path) / "metrics")
    app.register_blueprint(blueprint)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Tell everything that is known now, in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(CurrentMetrics())
    registry.register(CountedMetrics(current_app.extensions[EXTENSION].folder))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class Metrics:
    """Count what happens in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = False

    def clear(self) -> None:
        """Forget what the processes of an earlier run counted."""
        for path in self.folder.glob("*.lock"):
            if (descriptor := _locked(path)) is not None:
                for kind in KINDS:
                    self._file(kind, path.stem).unlink(missing_ok=True)
                os.close(descriptor)

    def start(self) -> None:
        """Take the files of a process that has ended, and go on counting there, or take new ones."""
        if self._started:
            return
        self._started = True
        try:
            slot = self._take_slot()
        except OSError:  # a full disk must not keep finished jobs from being downloaded
            log.exception("this process counts nothing for /metrics")
            return
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder)
        # By slot and not by process id: no count is lost with its process, and no file is left over for ever.
        values.ValueClass = values.MultiProcessValue(lambda: slot)
        self._count()

    def _take_slot(self) -> str:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        # Held for the life of the process: the kernel drops the lock however it ends.
        slot = next(str(each) for each in count() if _locked(self.folder / f"{each}.lock") is not None)
        for kind in KINDS:
            with self._file(kind, slot).open("ab") as file:
                allocate(file, FILE_BYTES)
        return slot

    def _file(self, kind: str, slot: str) -> Path:
        return self.folder / f"{kind}_{slot}.db"

    def _count(self) -> None:
        events = Counter("ezstems_job_events", "What happened to jobs.", ["event"], registry=None)
        uploaded = Counter("ezstems_upload_bytes", "Bytes of the files that became jobs.", registry=None)
        audio = Counter("ezstems_audio_seconds", "Length of the music in completed jobs.", registry=None)
        separation = Histogram(
            "ezstems_separation_seconds",
            "How long completed jobs took from start to ZIP.",
            buckets=SEPARATION_BUCKETS_SECONDS,
            registry=None,
        )
        requests = Counter(
            "ezstems_http_requests", "Requests answered, by the rule of the URL.", ["endpoint", "code"], registry=None
        )
        latency = Histogram(
            "ezstems_http_request_seconds",
            "How long requests took until the last byte was sent.",
            ["endpoint"],
            buckets=REQUEST_BUCKETS_SECONDS,
            registry=None,
        )
        tries = Counter("ezstems_webhook_tries", "What came of tries to send webhooks.", ["outcome"], registry=None)
        for event in EVENTS:
            events.labels(event)  # there from the start, as 0
        for outcome in OUTCOMES:
            tries.labels(outcome)

        def job(event: str, **fields: float) -> None:
            events.labels(event).inc()
            if event == "queued":
                uploaded.inc(fields["bytes"])
            elif event == "completed":
                audio.inc(fields["audio_seconds"])
                separation.observe(fields["seconds"])

        def request(rule: str, status: int, seconds: float) -> None:
            requests.labels(rule, status).inc()
            latency.labels(rule).observe(seconds)

        job_happened.connect(job, weak=False)
        request_answered.connect(request, weak=False)
        delivery_tried.connect(lambda outcome: tries.labels(outcome).inc(), weak=False)


class CountedMetrics(Collector):
    """Collect what all processes counted, added up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Yield the sums."""
        # Found here and not by the library, to which a `[` in the folder's name is a pattern.
        yield from MultiProcessCollector.merge([str(path) for path in self._folder.glob("*.db")])


class CurrentMetrics(Collector):
    """Collect what can be looked up: right in every process, whatever became of the others."""

    def collect(self) -> Iterator[Metric]:
        """Yield what can be known; without a database, that is less."""
        health = current_desk().health()
        ready = int(health["status"] == "ok")
        yield GaugeMetricFamily("ezstems_ready", "1 when /health says that the box can take work.", ready)
        yield GaugeMetricFamily("ezstems_free_disk_bytes", "Free disk for uploads.", health["free_disk_bytes"])
        if health["model"] is not None:
            yield InfoMetricFamily("ezstems_model", "The weights in use.", {"model": str(health["model"])})
        if health.get("workers") is not None:
            workers, waited_seconds = health["workers"], health["oldest_wait_seconds"]
            yield GaugeMetricFamily("ezstems_workers", "Separation processes that live, on all boxes.", workers)
            yield GaugeMetricFamily("ezstems_oldest_wait_seconds", "How long the next job has waited.", waited_seconds)
        if health["queue_length"] is None:
            return
        counts = Job.unfinished_by_status()
        yield GaugeMetricFamily("ezstems_jobs_waiting", "Jobs that wait, in all processes.", counts[QUEUED])
        yield GaugeMetricFamily("ezstems_jobs_running", "Jobs that run, in all processes.", counts[PROCESSING])


def _locked(path: Path) -> int | None:
    """Return a locked file's descriptor, or None when somebody else has the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
