"""A real gunicorn under load: exact limits, distinct ids, the right order and place whichever process answers."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support.callers import Caller
from tests.support.servers import Server

THREADS = 8
EMAIL = "someone@example.com"


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder for instances, in which `first` has an account, and its key."""
    folder = tmp_path_factory.mktemp("server")
    return folder, Server(folder / "first").key(EMAIL)


@pytest.fixture(scope="module")
def two_workers(accounts: tuple[Path, str]) -> Iterator[Server]:
    with Server(accounts[0] / "first", workers=2, rate_window_seconds=3600) as server:
        yield server


@pytest.fixture
def server(two_workers: Server) -> Iterator[Server]:
    """Return the server with two workers, holding nothing, at work."""
    yield two_workers
    two_workers.release()


@pytest.fixture
def caller(server: Server, accounts: tuple[Path, str]) -> Caller:
    return Caller(server, accounts[1])


def at_once(act: Callable[[int], requests.Response], times: int) -> list[requests.Response]:
    """Act from several threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(act, range(times)))


def test_eight_threads_and_two_workers_let_through_exactly_the_rate_limit(server: Server) -> None:
    key = server.command("keys", "add", EMAIL, "--rate-limit", "40")
    caller = Caller(server, key)

    answers = at_once(lambda _: caller.get("keys.php"), 200)
    deadline = time.monotonic() + 60
    while len({answer.headers["X-Worker"] for answer in answers}) < 2:  # one of them may have stood still
        assert time.monotonic() < deadline
        answers.append(caller.get("keys.php"))

    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 403]
    assert (len(passed), len(refused)) == (40, len(answers) - 40)
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"40"}
    (reset,) = {int(answer.headers["X-RateLimit-Reset"]) for answer in answers}
    assert time.time() < reset <= time.time() + 3600
    remaining = [int(answer.headers["X-RateLimit-Remaining"]) for answer in passed]
    assert min(remaining) == 0 and max(remaining) < 40
    for answer in refused:
        assert answer.json()["error"] == "Rate limit exceeded"
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert 0 < int(answer.headers["Retry-After"]) <= 3600
    assert server.rows("SELECT window_calls FROM api_keys WHERE rate_limit = 40") == [{"window_calls": 40}]


def check_fifty_uploads(caller: Caller, song: bytes) -> None:
    server = caller.server
    server.hold()
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = list(pool.map(lambda _: caller.upload(song), range(50)))
    ids = [job["id"] for job in jobs]
    assert len(set(ids)) == 50
    assert len({job["filename"] for job in jobs}) == 50
    server.release()
    for job_id in ids:
        caller.wait(job_id)

    rows = server.rows(f"SELECT * FROM jobs WHERE id IN ({','.join('?' * 50)}) ORDER BY number", *ids)
    assert [row["crashes"] for row in rows] == [0] * 50
    log = server.logged(*(f"job {job_id}: completed" for job_id in ids))
    started, completed = (re.findall(rf"job (\d+_\d): {event}", log) for event in ("started", "completed"))
    for owner in {row["owner"] for row in rows}:
        order = [row["id"] for row in rows if row["owner"] == owner]
        began = [job_id for job_id in started if job_id in order]
        # Whichever comes to its idle worker first begins at once; the rest wait, and go in their order.
        assert began == sorted(order, key=lambda job_id: job_id != began[0])
        assert [job_id for job_id in completed if job_id in order] == began
    for job_id in ids:
        assert (server.instance / "results" / f"{job_id}.zip").is_file()
    assert server.uploads() == server.kept_uploads() and len(server.uploads()) >= 50
    assert server.parts() == []


def test_fifty_uploads_at_once_to_one_worker_get_fifty_ids_and_complete_in_order(
    accounts: tuple[Path, str], song: bytes
) -> None:
    with Server(accounts[0] / "second") as server:
        check_fifty_uploads(Caller(server, server.key()), song)


def test_fifty_uploads_at_once_to_two_workers_get_fifty_ids_and_complete_in_order(
    caller: Caller, song: bytes
) -> None:
    check_fifty_uploads(caller, song)
    assert len(caller.server.rows("SELECT DISTINCT owner FROM jobs")) == 2


def test_every_poll_gives_a_waiting_job_the_same_place_whichever_process_answers(caller: Caller, song: bytes) -> None:
    server = caller.server
    server.hold()
    first, second = server.workers()
    jobs = []
    for worker in (first, second, first, first, second, second, first, second):
        with server.only(worker):
            jobs.append(caller.upload(song)["id"])
    for job_id in jobs[:2]:
        caller.wait(job_id, "processing")
    rows = server.rows("SELECT id, owner FROM jobs WHERE status = 'queued' ORDER BY number")
    assert [row["id"] for row in rows] == jobs[2:]
    owners = [row["owner"] for row in rows]
    places = {row["id"]: owners[: index + 1].count(row["owner"]) for index, row in enumerate(rows)}
    assert list(places.values()) == [1, 2, 1, 2, 3, 3]

    for worker in (first, second, first):
        with server.only(worker):
            for job_id, place in places.items():
                answer = caller.get("status.php", id=job_id)
                assert answer.headers["X-Worker"] == str(worker)
                data = answer.json()["data"]
                assert (data["status"], data["queue_position"]) == ("queued", place)
            for job_id in jobs[:2]:
                data = caller.status(job_id)
                assert (data["status"], data["queue_position"]) == ("processing", 0)
                assert data["progress"] in (0, 42)
    polls = at_once(lambda index: caller.get("status.php", id=jobs[2 + index % 6]), 96)
    assert {(a.json()["data"]["id"], a.json()["data"]["queue_position"]) for a in polls} == set(places.items())

    server.release()
    for job_id in jobs:
        assert caller.wait(job_id)["queue_position"] == 0


def test_health_answers_without_a_key(server: Server) -> None:
    answer = requests.get(f"{server.url}/health", timeout=60)
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert set(answer.json()) == {"status", "queue_length", "model", "free_disk_bytes"}


def test_log_lines_bear_the_request_id_and_the_job_id(caller: Caller, song: bytes) -> None:
    job_id = caller.upload(song, **{"X-Request-ID": "test-upload-1"})["id"]
    caller.wait(job_id)
    lines = caller.server.logged("[test-upload-1] 127.0.0.1 POST", f"job {job_id}: completed").splitlines()
    (queued,) = (line for line in lines if f"job {job_id}: queued" in line)
    assert "[test-upload-1]" in queued
    (access,) = (line for line in lines if "web.request_log [test-upload-1]" in line)
    assert "POST '/api/v1/upload.php' 200" in access
    for event in ("started", "completed"):
        assert len([line for line in lines if f"job {job_id}: {event}" in line]) == 1


MALFORMED = {
    "noise": b"\x00\x01\x02 noise\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "an absurd version": b"GET /health HTTP/9.9\r\n\r\n",
    "a header without a colon": b"GET /health HTTP/1.1\r\nHost x\r\n\r\n",
    "two lengths": b"POST /api/v1/keys.php HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "a negative length": b"POST /api/v1/upload.php HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "an endless header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "a long address": b"GET /api/v1/status.php?id=" + b"5" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown coding": b"POST /api/v1/upload.php HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "an unknown expectation": b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_answered_and_breaks_nothing(server: Server, request_bytes: bytes) -> None:
    workers = server.workers()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request_bytes)
        answer = connection.recv(65_536)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), head
    assert re.search(rb"^X-Request-ID: [0-9a-f]{32}$", head.replace(b"\r", b""), re.MULTILINE), head
    assert b"Content-Type: application/json" in head
    assert list(json.loads(body)) == ["error", "message"]
    assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
    assert server.workers() == workers


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"zz\r\nnot a chunk\r\n", id="a size that is no number"),
        pytest.param(b"5\r\nabcdefgh\r\n0\r\n\r\n", id="more bytes than the size"),
        pytest.param(b"5\r\nab", id="cut off in a chunk"),
        pytest.param(b"5\r\nabcde\r\n", id="cut off between chunks"),
    ],
)
def test_broken_chunks_are_a_bad_request(caller: Caller, body: bytes) -> None:
    server = caller.server
    head = (
        "POST /api/v1/upload.php HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n"
        f"X-Request-ID: broken-chunks\r\nAuthorization: {caller.headers['Authorization']}\r\n\r\n"
    )
    before = len(server.log.read_text())
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    status, _, rest = answer.partition(b"\r\n")
    assert b" 400 " in status and b'"error":"Bad request"' in rest, answer
    assert "Traceback" not in server.log.read_text()[before:]
    assert server.parts() == []


def test_a_client_that_goes_away_leaves_nothing_behind(caller: Caller, song: bytes) -> None:
    server = caller.server
    before = len(server.log.read_text())
    with caller.half_an_upload(song):
        assert len(server.parts()) == 1
    deadline = time.monotonic() + 60
    while "POST '/api/v1/upload.php' 400" not in (log := server.log.read_text()[before:]):
        assert time.monotonic() < deadline, log
        time.sleep(0.05)
    assert server.parts() == []
    assert "Traceback" not in log
