"""A cluster of real boxes on this machine: web servers and Celery workers, over one PostgreSQL and one broker."""

import io
import os
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import requests
from psycopg.rows import dict_row

from ezstems.jobs.celery_app import QUEUE, make_celery
from tests.support.backends import Postgres
from tests.support.servers import START_SECONDS, Server

# A process that says nothing for so long is taken for dead, in these tests.
DEAD_SECONDS = 5.0
# A song of so many stems kills the process that separates it; one of so many heeds no stop.
CRASHING, DEAF = 4, 5


class WorkerBox(Server):
    """Run `ezstems worker` with the fast separator."""

    def __init__(self, instance: Path, name: str, **settings: object) -> None:
        super().__init__(instance, **settings)
        self.log = instance.parent / f"{name}.log"
        self.arguments = [sys.executable, "-m", "tests.support.fast_worker"]

    def start(self) -> None:
        """Start, and wait until it takes jobs and every child of it lives."""
        before = self.spawn()
        children = int(self.environ.get("EZSTEMS_SEPARATIONS", "1"))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.running, self.log.read_text()
            said = self.log.read_bytes()[before:]
            if said.count(b": separates in process") >= children and b": takes jobs" in said:
                return
            time.sleep(0.05)
        raise AssertionError(f"no worker in {START_SECONDS} s:\n{self.log.read_text()}")


class Cluster:
    """Make boxes that share a database, a broker and, so far, a folder; a context that kills them all."""

    def __init__(self, folder: Path, postgres: Postgres, broker_url: str, **settings: object) -> None:
        self.folder = folder
        self.postgres = postgres
        self.database = postgres.new_database()
        self.broker_url = broker_url
        self.settings = {
            "database_url": postgres.url_of(self.database),
            "broker_url": broker_url,
            "storage_url": f"file://{folder / 'store'}",
            "FAST_BEAT": 0.5,
            "FAST_DEAD": DEAD_SECONDS,
        } | settings
        self.boxes: list[Server] = []
        (folder / "store").mkdir()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for box in self.boxes:
            if box.process is not None:
                box.kill()
        self.postgres.drop(self.database)

    @property
    def instance(self) -> Path:
        """Return the folder that the boxes share."""
        return self.folder / "instance"

    def web(self, **settings: object) -> Server:
        """Return a web box that isn't started yet."""
        box = Server(self.instance, **(self.settings | settings))
        box.log = self.folder / f"web{len(self.boxes)}.log"
        self.boxes.append(box)
        return box

    def worker(self, **settings: object) -> WorkerBox:
        """Return a separation box that isn't started yet."""
        box = WorkerBox(self.instance, f"worker{len(self.boxes)}", **(self.settings | settings))
        self.boxes.append(box)
        return box

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Read or change rows of the database."""
        url = urlsplit(str(self.settings["database_url"]))
        address = f"host={url.hostname} port={url.port} user={url.username} dbname={url.path[1:]}"
        with psycopg.connect(address, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def hold(self) -> None:
        """Let no separation end until `release`."""
        (self.instance / "hold").touch()

    def release(self) -> None:
        """Let held separations end."""
        (self.instance / "hold").unlink(missing_ok=True)

    def statuses(self) -> list[str]:
        """Return the statuses of all jobs, in their order."""
        return [row["status"] for row in self.rows("SELECT status FROM jobs ORDER BY number")]

    def logs(self) -> str:
        """Return what all boxes logged."""
        return "\n".join(f"== {box.log.name}\n{box.log.read_text()}" for box in self.boxes if box.log.exists())

    def separates(self, job_id: str) -> bool:
        """Tell whether a box began to separate a job, which it says after it has claimed it."""
        return f"job {job_id}: started" in self.logs()

    def wait(self, is_so: Callable[[], bool], seconds: float = 60.0) -> float:
        """Wait until something is so; return how many seconds that took."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < seconds, f"not so after {seconds} s: {self.statuses()}\n{self.logs()}"
            time.sleep(0.02)
        return time.monotonic() - began


class Caller:
    """Call the API of a web box with a key."""

    def __init__(self, box: Server, key: str, song: bytes) -> None:
        self.box = box
        self.song = song
        self.headers = {"Authorization": f"Bearer {key}"}

    def at(self, box: Server) -> "Caller":
        """Return the same caller, of another box."""
        other = Caller(box, "", self.song)
        other.headers = self.headers
        return other

    def upload(self, stems: int = 2) -> str:
        """Upload the song; return the job's id."""
        answer = requests.post(
            f"{self.box.api}/upload.php",
            headers=self.headers,
            data={"stems": str(stems)},
            files={"file": ("song.wav", self.song)},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["id"])

    def status(self, job_id: str) -> dict[str, Any]:
        """Return a job's status."""
        answer = requests.get(f"{self.box.api}/status.php?id={job_id}", headers=self.headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    def download(self, job_id: str) -> list[str]:
        """Return the names of the stems in a job's ZIP."""
        answer = requests.get(f"{self.box.api}/download.php?id={job_id}", headers=self.headers, timeout=60)
        assert answer.status_code == 200, answer.text
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            return archive.namelist()


class Boxes:
    """Web boxes and separation boxes, of two processes each, and a caller."""

    def __init__(self, cluster: Cluster, song: bytes, *, webs: int = 2, workers: int = 2) -> None:
        self.cluster = cluster
        self.webs = [cluster.web(workers=2) for _ in range(webs)]
        self.workers = [cluster.worker(separations=2, FAST_KILL=CRASHING, FAST_DEAF=DEAF) for _ in range(workers)]
        self.webs[0].start()
        with ThreadPoolExecutor(webs + workers) as pool:
            list(pool.map(lambda box: box.start(), [*self.webs[1:], *self.workers]))
        self.me = Caller(self.webs[0], self.webs[0].key(), song)
        self.celery = make_celery({"EZSTEMS_BROKER_URL": cluster.broker_url, "EZSTEMS_SEPARATIONS": 1,
                                   "EZSTEMS_JOB_SECONDS": 60})  # fmt: skip

    def end(self, job_id: str, seconds: float = 120.0) -> dict[str, Any]:
        """Wait for a job's end; return its row."""

        def row() -> dict[str, Any]:
            return self.cluster.rows("SELECT * FROM jobs WHERE id = %s", job_id)[0]

        self.cluster.wait(lambda: row()["status"] in ("completed", "failed"), seconds)
        return row()

    def row(self, job_id: str) -> dict[str, Any]:
        """Return a job's row."""
        return self.cluster.rows("SELECT * FROM jobs WHERE id = %s", job_id)[0]

    def fill(self) -> list[str]:
        """Hold all separations, and have as many jobs run as can; return their ids."""
        self.cluster.hold()
        running = [self.me.upload() for _ in range(2 * len(self.workers))]
        self.cluster.wait(lambda: all(self.cluster.separates(job) for job in running))
        return running

    def ready(self) -> int:
        """Count the tickets that wait at the broker."""
        with self.celery.connection_for_read() as connection:
            try:
                return int(connection.default_channel.queue_declare(queue=QUEUE, passive=True).message_count)
            except connection.channel_errors:
                return 0

    def empty(self) -> None:
        """Let every job end, also where a test that failed left boxes away."""
        for box in [*self.webs, *self.workers]:
            if not box.running:
                box.start()
        self.cluster.release()
        self.cluster.wait(lambda: not {"queued", "processing"} & set(self.cluster.statuses()), 60)

    def purge(self) -> None:
        """Lose every ticket that waits at the broker."""
        with self.celery.connection_for_read() as connection:
            connection.default_channel.queue_purge(QUEUE)


def kill(pid: int) -> None:
    """Kill one process."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
