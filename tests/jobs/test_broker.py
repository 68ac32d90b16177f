"""A cluster's jobs, from web boxes to separation boxes and back, over Celery with a real PostgreSQL and a real broker."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from ezstems.jobs.celery_app import QUEUE, TASK, make_celery
from tests.support.backends import Postgres, RabbitMQ, Redis
from tests.support.clusters import DEAD_SECONDS, Caller, Cluster, kill
from tests.support.sessions import enter

pytestmark = pytest.mark.timeout(300)
CRASHING, DEAF = 4, 5


class Boxes:
    """Two web boxes and two separation boxes of two processes each, and a caller."""

    def __init__(self, cluster: Cluster, song: bytes) -> None:
        self.cluster = cluster
        self.webs = [cluster.web(workers=2), cluster.web()]
        self.workers = [cluster.worker(separations=2, FAST_KILL=CRASHING, FAST_DEAF=DEAF) for _ in range(2)]
        self.webs[0].start()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda box: box.start(), [self.webs[1], *self.workers]))
        self.me = Caller(self.webs[0], self.webs[0].key(), song)
        self.celery = make_celery({"EZSTEMS_BROKER_URL": cluster.broker_url, "EZSTEMS_SEPARATIONS": 1,
                                   "EZSTEMS_JOB_SECONDS": 60})  # fmt: skip

    def end(self, job_id: str, seconds: float = 60.0) -> dict[str, Any]:
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
        running = [self.me.upload() for _ in range(4)]
        self.cluster.wait(lambda: all(self.row(job)["status"] == "processing" for job in running))
        return running

    def ready(self) -> int:
        """Count the tickets that wait at the broker."""
        with self.celery.connection_for_read() as connection:
            try:
                return int(connection.default_channel.queue_declare(queue=QUEUE, passive=True).message_count)
            except connection.channel_errors:
                return 0

    def purge(self) -> None:
        """Lose every ticket that waits at the broker."""
        with self.celery.connection_for_read() as connection:
            connection.default_channel.queue_purge(QUEUE)


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Redis | RabbitMQ]:
    with {"redis": Redis, "rabbitmq": RabbitMQ}[request.param]() as server:
        yield server


@pytest.fixture(scope="module")
def boxes(
    broker: Redis | RabbitMQ, postgres: Postgres, song: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Boxes]:
    with Cluster(tmp_path_factory.mktemp("cluster"), postgres, broker.url) as cluster:
        yield Boxes(cluster, song)


@pytest.fixture(autouse=True)
def _leave_nothing(boxes: Boxes) -> Iterator[None]:
    yield
    boxes.cluster.release()
    boxes.cluster.wait(lambda: not {"queued", "processing"} & set(boxes.cluster.statuses()), 90)


def test_a_job_runs_elsewhere_and_comes_back(boxes: Boxes) -> None:
    job = boxes.me.upload()
    row = boxes.end(job)
    assert row["status"] == "completed", boxes.cluster.logs()
    for web in boxes.webs:
        assert boxes.me.at(web).download(job) == ["vocals.wav", "accompaniment.wav"]
    owners = {row["id"] for row in boxes.cluster.rows("SELECT id FROM workers")}
    assert row["owner"] in owners and len(owners) == 4
    health = requests.get(f"{boxes.webs[1].url}/health", timeout=30)
    assert health.status_code == 200
    told = health.json()
    assert (told["status"], told["workers"], told["model"], told["oldest_wait_seconds"]) == (
        "ok", 4, "fast test model", 0.0,
    )  # fmt: skip
    assert "started" not in boxes.webs[0].log.read_text().partition("queued,")[2]


def test_places_are_the_rows_order_on_every_box(boxes: Boxes) -> None:
    boxes.fill()
    jobs = [boxes.me.at(boxes.webs[index % 2]).upload() for index in range(6)]
    for web in boxes.webs:
        assert [boxes.me.at(web).status(job)["queue_position"] for job in jobs] == [1, 2, 3, 4, 5, 6]
    began = time.monotonic()
    boxes.cluster.release()
    rows = [boxes.end(job) for job in jobs]
    assert [row["status"] for row in rows] == ["completed"] * 6
    assert time.monotonic() - began < 10
    begun = [row["started_at"] for row in rows]
    assert begun == sorted(begun)


def test_a_deleted_job_is_taken_back_or_stopped(boxes: Boxes) -> None:
    running = boxes.fill()
    waiting, other = boxes.me.upload(), boxes.me.upload()
    boxes.cluster.wait(lambda: boxes.ready() >= 2)
    session = enter(boxes.webs[1].url, "someone@example.com")
    for job in (waiting, running[0]):
        assert session.post(f"{boxes.webs[1].url}/songs/{job}/delete", timeout=30).ok
    # The next that waits takes the freed place, the deleted ones never run.
    boxes.cluster.wait(lambda: boxes.row(other)["status"] == "processing", 15)
    boxes.cluster.release()
    boxes.end(other)
    for job in (running[0], waiting):
        assert boxes.row(job)["status"] == "failed" and boxes.row(job)["expired_at"] is not None
    assert boxes.row(waiting)["started_at"] is None
    logs = boxes.cluster.logs()
    assert f"job {running[0]}: stopped, deleted while it ran" in logs
    assert f"Discarding revoked task: {TASK}[{waiting}]" in logs and f"revoked task: {TASK}[{running[0]}]" not in logs


def test_tickets_may_be_lost_doubled_and_late(boxes: Boxes) -> None:
    boxes.fill()
    jobs = [boxes.me.upload() for _ in range(3)]
    boxes.cluster.wait(lambda: boxes.ready() >= 3)
    boxes.purge()
    assert boxes.cluster.wait(lambda: boxes.ready() >= 3) < 15
    for number in range(9):  # each twice more, and some for jobs that never were
        boxes.celery.send_task(TASK, args=(number,), task_id=f"late-{number}")
    boxes.cluster.release()
    assert [boxes.end(job)["status"] for job in jobs] == ["completed"] * 3
    boxes.cluster.wait(lambda: boxes.ready() == 0)
    logs = boxes.cluster.logs()
    assert [logs.count(f"job {job}: started") for job in jobs] == [1, 1, 1]


def test_a_killed_process_and_a_poisonous_song_stop_nobody_else(boxes: Boxes) -> None:
    running = boxes.fill()
    pid = boxes.cluster.rows(
        "SELECT pid FROM workers w JOIN jobs j ON j.owner = w.id WHERE j.id = %s", running[0]
    )[0]["pid"]  # fmt: skip
    kill(pid)
    boxes.cluster.wait(lambda: boxes.row(running[0])["crashes"] == 1, DEAD_SECONDS + 10)
    boxes.cluster.release()
    assert boxes.end(running[0])["status"] == "completed"
    poison, other = boxes.me.upload(stems=CRASHING), boxes.me.upload()
    assert boxes.end(other)["status"] == "completed"
    row = boxes.end(poison)
    assert row["status"] == "failed" and "crashed the separator" in row["error"] and row["crashes"] == 1
    boxes.cluster.wait(lambda: boxes.webs[1].url and requests.get(f"{boxes.webs[1].url}/health", timeout=30)
                       .json()["workers"] == 4)  # fmt: skip


def test_a_killed_box_and_one_that_is_stopped(boxes: Boxes) -> None:
    running = boxes.fill()
    first, second = boxes.workers
    first.kill()
    theirs = [job for job in running if f"job {job}: started" in first.log.read_text()]
    boxes.cluster.wait(lambda: all(boxes.row(job)["crashes"] == 1 for job in theirs), DEAD_SECONDS + 10)
    # A stop gives back at once, and blames nobody.
    assert second.stop() < 10
    mine = [job for job in running if job not in theirs]
    assert [(row["status"], row["crashes"]) for row in map(boxes.row, mine)] == [("queued", 0)] * len(mine)
    health = requests.get(f"{boxes.webs[0].url}/health", timeout=30)
    assert health.status_code == 503 and health.json()["status"] in ("no workers", "ok")
    page = requests.get(boxes.webs[0].url, timeout=30)
    assert page.status_code == 200
    waiting = boxes.me.upload()  # accepted all the same
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda box: box.start(), boxes.workers))
    boxes.cluster.release()
    assert [boxes.end(job)["status"] for job in [*running, waiting]] == ["completed"] * 5


def test_a_broker_that_dies_comes_back_empty(boxes: Boxes, broker: Redis | RabbitMQ) -> None:
    running = boxes.fill()
    waiting = boxes.me.upload()
    broker.kill()
    began = time.monotonic()
    late = boxes.me.upload()  # no request waits for the broker
    assert time.monotonic() - began < 3
    boxes.webs[0].logged("no tickets are sent now")
    broker.start()
    boxes.cluster.release()
    assert [boxes.end(job, 60)["status"] for job in [*running, waiting, late]] == ["completed"] * 6
    again = boxes.me.upload()
    assert boxes.end(again)["status"] == "completed"
    boxes.webs[0].logged("tickets are sent again")


def test_celerys_own_tools_answer(boxes: Boxes) -> None:
    boxes.fill()
    inspect = boxes.celery.control.inspect(timeout=5.0)
    names = {f"ezstems-{box.process.pid}" for box in boxes.workers if box.process}
    answers = inspect.ping()
    assert {name.partition("@")[0] for name in answers} == names
    active = [task for tasks in inspect.active().values() for task in tasks]
    assert len(active) == 4 and {task["name"] for task in active} == {TASK}
    seen: list[str] = []
    with boxes.celery.connection_for_read() as connection:
        receiver = boxes.celery.events.Receiver(connection, handlers={"task-succeeded": lambda event: seen.append(event["uuid"])})
        boxes.cluster.release()
        with pytest.raises(TimeoutError):
            for _ in receiver.itercapture(limit=None, timeout=3.0, wakeup=True):
                pass
    assert seen


def test_an_operator_retries(boxes: Boxes) -> None:
    job = boxes.me.upload()
    boxes.end(job)
    upload = boxes.cluster.instance / "uploads" / boxes.row(job)["filename"]
    upload.write_bytes(boxes.me.song)
    boxes.cluster.rows("UPDATE jobs SET status = 'failed', error = 'x' WHERE id = %s", job)
    assert "queued again" in boxes.webs[0].command("jobs", "retry", job)
    row = boxes.end(job)
    assert (row["status"], row["error"]) == ("completed", None)
