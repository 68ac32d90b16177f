"""A cluster's jobs, from web boxes to separation boxes and back, over a real PostgreSQL and a real Redis."""

import base64
import json
import os
import pickle
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from ezstems.jobs.celery_app import QUEUE, TASK
from tests.support.backends import Postgres, Redis
from tests.support.clusters import CRASHING, DEAD_SECONDS, Boxes, Cluster, kill
from tests.support.servers import Server
from tests.support.sessions import enter

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def broker() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def boxes(
    broker: Redis, postgres: Postgres, song: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Boxes]:
    with Cluster(tmp_path_factory.mktemp("cluster"), postgres, broker.url) as cluster:
        yield Boxes(cluster, song)


@pytest.fixture(autouse=True)
def _leave_nothing(boxes: Boxes, broker: Redis) -> Iterator[None]:
    yield
    broker.start()  # where a test that failed left it away
    boxes.empty()


def health(box: Server) -> dict[str, Any]:
    """Return how a box is."""
    return dict(requests.get(f"{box.url}/health", timeout=30).json())


def test_a_job_runs_elsewhere_and_comes_back(boxes: Boxes) -> None:
    job = boxes.me.upload()
    row = boxes.end(job)
    assert row["status"] == "completed", boxes.cluster.logs()
    for web in boxes.webs:
        assert boxes.me.at(web).download(job) == ["vocals.wav", "accompaniment.wav"]
    boxes.cluster.wait(lambda: health(boxes.webs[1])["workers"] == 4)  # a process says that it lives, once it does
    owners = {row["id"] for row in boxes.cluster.rows("SELECT id FROM workers")}
    assert row["owner"] in owners and len(owners) == 4
    answer = requests.get(f"{boxes.webs[1].url}/health", timeout=30)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], told["workers"], told["model"], told["oldest_wait_seconds"]) == (
        "ok", 4, "fast test model", 0.0,
    )  # fmt: skip
    assert "started" not in boxes.webs[0].log.read_text().partition("queued,")[2]


def test_places_are_the_rows_order_on_every_box(boxes: Boxes) -> None:
    boxes.fill()
    jobs = [boxes.me.at(boxes.webs[index % 2]).upload() for index in range(6)]
    for web in boxes.webs:
        assert [boxes.me.at(web).status(job)["queue_position"] for job in jobs] == [1, 2, 3, 4, 5, 6]
    boxes.cluster.release()
    rows = [boxes.end(job) for job in jobs]
    assert [row["status"] for row in rows] == ["completed"] * 6
    # Each process begins with the first that waits; two may begin, and say so, in either order.
    logs = boxes.cluster.logs()
    for owner in {row["owner"] for row in rows}:
        begun = [logs.index(f"job {row['id']}: started") for row in rows if row["owner"] == owner]
        assert begun == sorted(begun)


def test_a_deleted_job_is_taken_back_or_stopped(boxes: Boxes) -> None:
    running = boxes.fill()
    waiting, other = boxes.me.upload(), boxes.me.upload()
    boxes.cluster.wait(lambda: boxes.ready() >= 2)
    session = enter(boxes.webs[1].url, "someone@example.com")

    def delete(job: str) -> None:
        assert session.post(f"{boxes.webs[1].url}/songs/{job}/delete", timeout=30).ok

    delete(waiting)
    boxes.cluster.wait(lambda: all(f"flagged as revoked: {waiting}" in box.log.read_text() for box in boxes.workers))
    delete(running[0])
    # The next that waits takes the freed place, the deleted ones never run.
    boxes.cluster.wait(lambda: boxes.cluster.separates(other))
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
    boxes.cluster.wait(lambda: boxes.ready() >= 3)
    for number in range(9):  # each twice more, and some for jobs that never were
        boxes.celery.send_task(TASK, args=(number,), task_id=f"late-{number}")
    boxes.cluster.release()
    assert [boxes.end(job)["status"] for job in jobs] == ["completed"] * 3
    boxes.cluster.wait(lambda: boxes.ready() == 0)
    logs = boxes.cluster.logs()
    assert [logs.count(f"job {job}: started") for job in jobs] == [1, 1, 1]


def test_what_makes_no_sense_in_the_queue_ends_no_worker(boxes: Boxes, broker: Redis, tmp_path: Path) -> None:
    pids = [box.process.pid for box in boxes.workers if box.process]
    unpickled = tmp_path / "unpickled"

    class Poison:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {unpickled}",)

    ticket = {"lang": "py", "task": TASK, "id": "odd", "argsrepr": "", "kwargsrepr": "", "origin": "x"}
    sound = b"[[1], {}, {}]"

    def message(body: bytes, content_type: str = "application/json", **headers: object) -> bytes:
        delivery = {"delivery_info": {"exchange": "", "routing_key": QUEUE}, "delivery_tag": secrets.token_hex(8)}
        properties = {"body_encoding": "base64", "delivery_mode": 2, "priority": 0, "correlation_id": "odd"} | delivery
        content = {"body": base64.b64encode(body).decode(), "content-type": content_type, "content-encoding": "utf-8"}
        return json.dumps(content | {"headers": ticket | headers, "properties": properties}).encode()

    odd = [
        *(b"junk", b"", b"[]", b"{}", b"null", b"1" * 31, b"\xff\xfe", pickle.dumps(Poison()), b"x" * 1_000_000),
        *(message(sound, timelimit=limit) for limit in (5, "x", [1, 2, 3], [-5, -5], [0.001, 0.001])),
        *(message(sound, task=task) for task in (None, 5, [1], "os.system")),
        *(message(sound, id=name) for name in (None, [1], "x" * 100_000)),
        *(message(body) for body in (b"{{{", b"5", b"null", b'"abc"', b'["abc", 5, 7]', b"[[%d], {}, {}]" % 10**30)),
        *(message(sound, eta=moment) for moment in ("tomorrow", 10**30)),
        message(pickle.dumps(Poison()), "application/x-python-serialize"),
        message(sound, compression="nonsense"),
    ]
    with redis.Redis(port=broker.port) as client:
        client.lpush(QUEUE, *odd)
    boxes.cluster.wait(lambda: boxes.ready() == 0)
    running = boxes.fill()  # every seat is free again
    boxes.cluster.release()
    assert [boxes.end(job)["status"] for job in running] == ["completed"] * 4
    assert [box.process.pid for box in boxes.workers if box.process and box.running] == pids
    assert not unpickled.exists()
    assert "what isn't a message, which was thrown away" in boxes.cluster.logs()


def test_a_killed_process_and_a_poisonous_song_stop_nobody_else(boxes: Boxes) -> None:
    running = boxes.fill()
    pid = boxes.cluster.rows(
        "SELECT pid FROM workers w JOIN jobs j ON j.owner = w.id WHERE j.id = %s", running[0]
    )[0]["pid"]  # fmt: skip
    kill(pid)
    boxes.cluster.wait(lambda: boxes.row(running[0])["crashes"] == 1, DEAD_SECONDS + 60)
    boxes.cluster.release()
    assert boxes.end(running[0])["status"] == "completed"
    poison, other = boxes.me.upload(stems=CRASHING), boxes.me.upload()
    assert boxes.end(other)["status"] == "completed"
    row = boxes.end(poison)
    assert row["status"] == "failed" and "crashed the separator" in row["error"] and row["crashes"] == 1
    boxes.cluster.wait(lambda: health(boxes.webs[1])["workers"] == 4)


def test_a_killed_box_and_one_that_is_stopped(boxes: Boxes) -> None:
    running = boxes.fill()
    first, second = boxes.workers
    first.kill()
    theirs = [job for job in running if f"job {job}: started" in first.log.read_text()]
    boxes.cluster.wait(lambda: all(boxes.row(job)["crashes"] == 1 for job in theirs), DEAD_SECONDS + 60)
    # A stop gives back at once, and blames nobody.
    assert second.stop() < 20
    mine = [job for job in running if job not in theirs]
    assert [(row["status"], row["crashes"]) for row in map(boxes.row, mine)] == [("queued", 0)] * len(mine)
    answer = requests.get(f"{boxes.webs[0].url}/health", timeout=30)
    assert (answer.status_code, answer.json()["status"], answer.json()["workers"]) == (503, "no workers", 0)
    assert answer.json()["oldest_wait_seconds"] > 0
    assert "no separation box is running" in requests.get(boxes.webs[0].url, timeout=30).text
    waiting = boxes.me.upload()  # accepted all the same
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda box: box.start(), boxes.workers))
    boxes.cluster.release()
    assert [boxes.end(job)["status"] for job in [*running, waiting]] == ["completed"] * 5


def test_a_broker_that_dies_comes_back_empty(boxes: Boxes, broker: Redis) -> None:
    running = boxes.fill()
    waiting = boxes.me.upload()
    broker.kill()
    began = time.monotonic()
    late = boxes.me.upload()  # no request waits for the broker
    assert time.monotonic() - began < 15
    boxes.webs[0].logged("no tickets are sent now")
    broker.start()
    boxes.cluster.release()
    assert [boxes.end(job)["status"] for job in [*running, waiting, late]] == ["completed"] * 6
    again = boxes.me.upload()
    assert boxes.end(again)["status"] == "completed"
    boxes.webs[0].logged("tickets are sent again")


def test_celerys_own_tools_answer(boxes: Boxes) -> None:
    boxes.fill()
    inspect = boxes.celery.control.inspect(timeout=30.0, limit=len(boxes.workers))
    names = {f"ezstems-{box.process.pid}" for box in boxes.workers if box.process}
    answers = inspect.ping()
    assert {name.partition("@")[0] for name in answers} == names
    active = [task for tasks in inspect.active().values() for task in tasks]
    assert len(active) == 4 and {task["name"] for task in active} == {TASK}
    seen: list[str] = []
    with boxes.celery.connection_for_read() as connection:

        def note(event: dict[str, str]) -> None:
            seen.append(event["uuid"])
            receiver.should_stop = True

        # The first that it hears shows that it listens.
        handlers = {"worker-heartbeat": lambda _event: boxes.cluster.release(), "task-succeeded": note}
        receiver = boxes.celery.events.Receiver(connection, handlers=handlers)
        receiver.capture(limit=None, timeout=60, wakeup=False)
    assert len(seen) >= 1


def test_an_operator_retries(boxes: Boxes) -> None:
    job = boxes.me.upload()
    boxes.end(job)
    boxes.cluster.rows("UPDATE jobs SET status = 'failed', error = 'x' WHERE id = %s", job)
    assert "queued again" in boxes.webs[0].command("jobs", "retry", job)
    row = boxes.end(job)
    assert (row["status"], row["error"]) == ("completed", None)
