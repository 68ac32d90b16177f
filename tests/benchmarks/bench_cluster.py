"""Measure a cluster on this machine, over PostgreSQL, Redis and an S3 store.

    python tests/benchmarks/bench_cluster.py [status] [dispatch] [song] [memory] [--jobs 1000] [--wait 0.5]

`status`: calls of status.php with 10,000 jobs queued. `dispatch`: many short jobs over 8 processes, with a separator
that only waits, against what the waits alone would take. `song`: what one song costs each part. `memory`: of each kind
of process, and of the web process while 300 MiB go in and out.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ezstems.jobs.celery_app import TASK, make_celery
from tests.benchmarks import costs, machine, table
from tests.benchmarks.costs import COUNTED, Costs, CountedStore
from tests.benchmarks.song import make_song
from tests.benchmarks.writing_worker import NOTES, RATE
from tests.support import loads
from tests.support.audio_files import silent_wav_head
from tests.support.backends import Postgres, Redis
from tests.support.callers import Caller
from tests.support.clusters import Cluster, WorkerBox

STATUS_MS, LINEAR_PERCENT, DISPATCH_MS = 100, 95, 20
CONNECTIONS, CALLS_PER_SECOND, QUEUED = 20, 200, 10_000
BOXES, PROCESSES = 4, 2
SONGS, SONG_SECONDS = 12, 180
LARGE_MIB = 300
LIMITS = {"EZSTEMS_SEPARATIONS": 1, "EZSTEMS_JOB_SECONDS": 60}
# Rows like the first job's, whose uploads, or none, lie under their own keys.
ROWS = (
    "INSERT INTO jobs (id, filename, upload_key, keeps_upload, second, stems, user_id, cutoff, output, original_name, "
    "size_bytes, sha256, status, progress, crashes, created_at) SELECT n || '_2', n || '_2_0.wav', j.upload_key, true, "
    "n, 2, j.user_id, j.cutoff, j.output, j.original_name, j.size_bytes, j.sha256, 'queued', 0, 0, "
    "timezone('UTC', now()) FROM jobs j, generate_series(1, %s) n WHERE j.number = 1"
)


class Bench:
    """A cluster with one web box, and its costs."""

    def __init__(self, folder: Path, postgres: Postgres, redis: Redis, store: CountedStore) -> None:
        settings = {"FAST_BEAT": 10, "FAST_DEAD": 60, "queue_size": 1_000_000, "storage_url": store.new_url()}
        self.folder = folder
        self.cluster = Cluster(folder, postgres, redis.url, **settings, **store.credentials)
        self.notes = self.cluster.instance / NOTES
        self.costs = Costs(postgres, self.cluster.database, redis, store)

    def start_web(self, workers: int = 1) -> Caller:
        """Start the web box; return a caller of it."""
        self.web = self.cluster.web(workers=workers)
        self.web.start()
        self.costs.watch("web", self.web)
        return Caller(self.web, self.web.key(plan="custom", max_mb=LARGE_MIB))

    def start_workers(self, boxes: int, processes: int, **settings: object) -> list[WorkerBox]:
        """Start separation boxes that write and wait."""
        workers = [self.cluster.worker(separations=processes, **settings) for _ in range(boxes)]
        for number, box in enumerate(workers):
            box.arguments[-1] = "tests.benchmarks.writing_worker"
            self.costs.watch(f"worker {number}", box)
        with ThreadPoolExecutor(boxes) as pool:
            list(pool.map(lambda box: box.start(), workers))
        return workers

    def send_tickets(self, count: int) -> None:
        """Send tickets, as a web box does."""
        celery = make_celery(LIMITS | {"EZSTEMS_BROKER_URL": self.cluster.broker_url})
        with celery.connection_for_write() as connection:
            for number in range(count):
                celery.send_task(TASK, args=(number,), connection=connection)

    def wait_for_ends(self, count: int) -> None:
        """Wait until so many separations were made, then, asking the database no more than need be, for their ends."""
        while not self.notes.exists() or len(self.written_seconds()) < count:
            time.sleep(0.02)
        while self.unfinished():
            time.sleep(0.1)

    def unfinished(self) -> int:
        """Count the jobs that wait or run."""
        found = self.cluster.rows("SELECT count(*) AS n FROM jobs WHERE status IN ('queued', 'processing')")
        return int(found[0]["n"])

    def written_seconds(self) -> list[float]:
        """Return what each separation itself took of CPU."""
        return [float(line) for line in self.notes.read_text().split()]


@contextmanager
def bench() -> Iterator[Bench]:
    """Start the servers of a cluster."""
    with (
        tempfile.TemporaryDirectory() as place,
        Postgres(durable=True, **COUNTED) as postgres,
        Redis() as redis,
        CountedStore() as store,
    ):
        made = Bench(Path(place), postgres, redis, store)
        with made.cluster:
            yield made


def status(chosen: argparse.Namespace) -> None:
    """Call status.php of the last of many queued jobs."""
    with bench() as made:
        caller = made.start_web(workers=2)
        caller.upload(make_song(2, made.folder).read_bytes(), name="song.mp3")
        made.cluster.rows(ROWS, QUEUED)
        made.cluster.rows("ANALYZE jobs")
        load = {"connections": CONNECTIONS, "per_second": CALLS_PER_SECOND}
        loads.answer_seconds(caller, f"status.php?id={QUEUED}_2", seconds=1, **load)
        before = made.costs.now()
        taken = loads.answer_seconds(caller, f"status.php?id={QUEUED}_2", seconds=chosen.seconds, **load)
        used = costs.per(before, made.costs.now(), len(taken))
        half, last = (1000 * loads.percentile(taken, percent) for percent in (50, 99))
        table.within(f"status calls, {QUEUED} queued: median {half:.0f} ms, p99", last, STATUS_MS, "ms")
        table.within("CPU of the web box a call", used["web CPU ms"], 10, "ms")
        table.within("CPU of PostgreSQL a call", used["postgres CPU ms"], 10, "ms")


def dispatch(chosen: argparse.Namespace) -> None:
    """Let many processes run many short jobs, whose tickets the web box sends."""
    with bench() as made:
        caller = made.start_web()
        made.start_workers(BOXES, PROCESSES, FAST_SECONDS=chosen.wait)
        first = caller.upload(make_song(1, made.folder).read_bytes(), name="song.mp3")["id"]
        caller.wait(first)
        before, began = made.costs.now(), time.monotonic()
        made.cluster.rows("UPDATE jobs SET keeps_upload = true")
        made.cluster.rows(ROWS, chosen.jobs)
        made.send_tickets(chosen.jobs)
        made.wait_for_ends(1 + chosen.jobs)
        seconds = time.monotonic() - began
        used = costs.per(before, made.costs.now(), chosen.jobs)
        processes = BOXES * PROCESSES
        linear_seconds = chosen.jobs * chosen.wait / processes
        percent = 100 * linear_seconds / seconds
        print(f"{chosen.jobs} jobs of {chosen.wait:g} s, {processes} processes: {seconds:.1f} s, "
              f"{percent:.1f} % of linear; load {os.getloadavg()[0]:.1f}")  # fmt: skip
        show("a job of the dispatch", used)


def song(chosen: argparse.Namespace) -> None:
    """Take songs through the cluster, one step after the other, and count what each step costs."""
    with bench() as made:
        content = make_song(SONG_SECONDS, made.folder).read_bytes()
        caller = made.start_web()
        first = caller.upload(content, name="song.mp3")["id"]
        before = made.costs.now()
        ids = [caller.upload(content, name="song.mp3")["id"] for _ in range(SONGS)]
        show("an upload", costs.per(before, made.costs.now(), SONGS))

        (worker,) = made.start_workers(1, 1, FAST_SAMPLES=SONG_SECONDS * RATE)
        made.cluster.wait(lambda: made.unfinished() <= SONGS, 120)
        before = made.costs.now()
        made.wait_for_ends(1 + SONGS)
        used = costs.per(before, made.costs.now(), SONGS)
        own_ms = 1000 * sum(made.written_seconds()[1:]) / SONGS
        show("a separation, and what writing the stems takes of it", used | {"writing CPU ms": own_ms})
        worker.stop()

        before = made.costs.now()
        for _ in range(10 * SONGS):
            caller.status(first)
        show("a status call", costs.per(before, made.costs.now(), 10 * SONGS))
        before, size_bytes = made.costs.now(), 0
        for job in ids:
            size_bytes += download(caller, job)
        used = costs.per(before, made.costs.now(), SONGS)
        show("a download", used | {"bytes": size_bytes / SONGS})
        before = made.costs.now()
        time.sleep(chosen.seconds)
        show("a second of nothing", costs.per(before, made.costs.now(), chosen.seconds))


def download(caller: Caller, job: str) -> int:
    """Download a ZIP to nowhere; return its size."""
    url = f"{caller.server.api}/download.php?id={job}"
    with requests.get(url, headers=caller.headers, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        return sum(map(len, answer.iter_content(1 << 18)))


def memory(chosen: argparse.Namespace) -> None:
    """Print the memory of each process, and the web process's peaks while a large file goes in and out."""
    with bench() as made:
        caller = made.start_web()
        (web,) = made.web.workers()
        (worker,) = made.start_workers(1, 1, FAST_SAMPLES=(LARGE_MIB << 20) // 8)
        small = make_song(2, made.folder).read_bytes()
        caller.wait(caller.upload(small, name="song.mp3")["id"])
        large = silent_wav_head(LARGE_MIB << 20).ljust(LARGE_MIB << 20, b"\0")
        table.line("web process", "MB", f"{machine.memory_mb('VmRSS', web):.0f}")
        costs.peak_mb(web, anew=True)
        job = caller.upload(large)["id"]
        table.line(f"web process, {LARGE_MIB} MiB in", "MB", f"{costs.peak_mb(web, anew=True):.0f}")
        caller.wait(job)
        costs.peak_mb(web, anew=True)
        table.line("bytes", "of the ZIP", str(download(caller, job)))
        table.line("web process, them out", "MB", f"{costs.peak_mb(web):.0f}")
        assert worker.process is not None
        for pid in costs.tree(worker.process.pid):
            table.line("worker's process", "peak MB", f"{costs.peak_mb(pid):.0f}")


def show(what: str, used: dict[str, float]) -> None:
    """Print what something cost."""
    for name, value in sorted(used.items()):
        table.line(what, name, f"{value:,.1f}")


def main() -> None:
    """Print the figures."""
    parts = {part.__name__: part for part in (status, dispatch, song, memory)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", choices=[*parts], default=[*parts])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--wait", type=float, default=0.5, help="seconds that each of them waits")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long status calls last")
    chosen = parser.parse_args()
    print(machine.describe(), f"Load of the machine at the start: {os.getloadavg()[0]:.1f}.\n")
    table.head("what", "of what", "measured")
    for name in chosen.parts:
        try:
            parts[name](chosen)
        except pytest.skip.Exception as missing:
            table.tell(f"{name}: {missing}")


if __name__ == "__main__":
    main()
