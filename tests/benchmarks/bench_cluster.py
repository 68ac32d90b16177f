"""Measure a cluster's dispatch: jobs over many processes with a separator that only waits, and status under load.

    python -m tests.benchmarks.bench_cluster [--jobs 1000] [--boxes 4] [--processes 2] [--wait 0.5]
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import requests

from ezstems.jobs.celery_app import TASK, make_celery
from tests.support.audio_files import write_wav
from tests.support.backends import Postgres, Redis
from tests.support.clusters import Caller, Cluster

ROWS = (
    "INSERT INTO jobs (id, filename, second, stems, user_id, cutoff, output, original_name, size_bytes, sha256, "
    "status, progress, crashes, created_at) SELECT n || '_2', n || '_2_0.wav', n, 2, j.user_id, j.cutoff, j.output, "
    "j.original_name, j.size_bytes, j.sha256, 'queued', 0, 0, j.created_at "
    "FROM jobs j, generate_series(1, %s) n WHERE j.number = 1"
)


def song(folder: Path) -> bytes:
    """Return half a second of sound."""
    path = folder / "song.wav"
    write_wav(path, 0.1 * np.sin(np.arange(22_050) / 20)[:, None].repeat(2, axis=1))
    return path.read_bytes()


def fill(cluster: Cluster, count: int, upload: bytes | None = None) -> None:
    """Line up copies of the first job, with uploads where they are to run."""
    if upload is not None:
        (source := cluster.folder / "upload").write_bytes(upload)
        for number in range(1, count + 1):
            os.link(source, cluster.instance / "uploads" / f"{number}_2_0.wav")
    cluster.rows(ROWS, count)


def clear(cluster: Cluster) -> None:
    """Delete all jobs but the first."""
    cluster.rows("DELETE FROM jobs WHERE number > (SELECT min(number) FROM jobs)")


def measure_dispatch(cluster: Cluster, upload: bytes, jobs: int, processes: int, wait_seconds: float) -> None:
    """Print how close to linear the jobs ran, from the first's start to the last's end, and what each cost."""
    fill(cluster, jobs, upload)
    settings = {"EZSTEMS_BROKER_URL": cluster.broker_url, "EZSTEMS_SEPARATIONS": 1, "EZSTEMS_JOB_SECONDS": 60}
    celery = make_celery(settings)
    began = time.monotonic()
    for number in range(jobs):
        celery.send_task(TASK, args=(number,))
    print(f"{1000 * (time.monotonic() - began) / jobs:.1f} ms to send a ticket")
    cluster.wait(lambda: not cluster.rows("SELECT 1 FROM jobs WHERE status IN ('queued', 'processing') LIMIT 1"), 3600)
    seconds = time.monotonic() - began
    linear_seconds = jobs * wait_seconds / processes
    cost_ms = 1000 * (seconds - linear_seconds) * processes / jobs
    failed = cluster.rows("SELECT count(*) AS n FROM jobs WHERE status <> 'completed'")[0]["n"]
    print(f"{jobs} jobs of {wait_seconds:g} s over {processes} processes: {seconds:.1f} s, "
          f"{100 * linear_seconds / seconds:.1f} % of linear, {cost_ms:.0f} ms a job beside its wait, "
          f"{failed} not completed")  # fmt: skip


def measure_status(caller: Caller, job: str, rate: float, seconds: float) -> None:
    """Print the latency of status.php at so many calls a second."""
    latencies: list[float] = []
    lock = threading.Lock()
    local = threading.local()

    def ask(at: float) -> None:
        time.sleep(max(0.0, at - time.monotonic()))
        if not hasattr(local, "session"):
            local.session = requests.Session()
            local.session.trust_env = False
        answer = local.session.get(f"{caller.box.api}/status.php?id={job}", headers=caller.headers, timeout=60)
        assert answer.status_code == 200 and answer.json()["data"]["queue_position"] > 0, answer.text
        with lock:
            latencies.append(time.monotonic() - at)  # a call that began late waited, too

    began = time.monotonic() + 0.5
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(ask, [began + number / rate for number in range(int(rate * seconds))]))
    cuts = statistics.quantiles(latencies, n=100)
    print(f"status at {rate:g} calls a second: median {1000 * cuts[49]:.0f} ms, p99 {1000 * cuts[98]:.0f} ms")


def main() -> None:
    """Start the boxes and measure."""
    parser = argparse.ArgumentParser()
    for name, kind, default in (("jobs", int, 1000), ("boxes", int, 4), ("processes", int, 2), ("wait", float, 0.5),
                                ("queued", int, 10_000), ("rate", float, 200.0), ("seconds", float, 10.0)):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Postgres(durable=True) as postgres, Redis() as redis:
        folder = Path(name)
        settings = {"FAST_BEAT": 10, "FAST_DEAD": 60, "queue_size": 1_000_000}
        with Cluster(folder, postgres, redis.url, **settings) as cluster:
            web = cluster.web(workers=2)
            web.start()
            caller = Caller(web, web.key(), song(folder))
            first = caller.upload()
            fill(cluster, options.queued)
            last = cluster.rows("SELECT id FROM jobs ORDER BY number DESC LIMIT 1")[0]["id"]
            cluster.rows("ANALYZE jobs")
            measure_status(caller, last, options.rate, options.seconds)
            clear(cluster)
            workers = [cluster.worker(separations=options.processes, FAST_SECONDS=options.wait)
                       for _ in range(options.boxes)]  # fmt: skip
            with ThreadPoolExecutor(options.boxes) as pool:
                list(pool.map(lambda box: box.start(), workers))
            cluster.wait(lambda: caller.status(first)["status"] == "completed", 60)
            measure_dispatch(cluster, caller.song, options.jobs, options.boxes * options.processes, options.wait)


if __name__ == "__main__":
    main()
