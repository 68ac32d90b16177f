"""Calls that wait for a job's end, and uploads sent again, at a real server of two workers with two threads each."""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
import requests

from tests.support.callers import Caller
from tests.support.cutting import CuttingProxy
from tests.support.servers import Server
from tests.support.wire import KEY, Answer, ask, next_answer, request

WAITERS, KEY_WAITERS = 20, 100
# Far above what an answer takes on a busy machine, far below what one takes that waits for a job's end.
AT_ONCE_SECONDS = 30.0
STOP_SECONDS = 20.0
WAIT = b"Prefer: wait=60"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"workers": 2, "threads": 2, "waiters": WAITERS, "key_waiters": KEY_WAITERS}
    limits["rate_window_seconds"] = 1_000_000  # every call is counted in the same one: see `wait_together`
    with Server(tmp_path_factory.mktemp("waits") / "instance", **limits) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.key(plan="pro")


@pytest.fixture(scope="module")
def caller(server: Server, key: str) -> Caller:
    return Caller(server, key)


@pytest.fixture
def running(server: Server, caller: Caller, song: bytes) -> Iterator[str]:
    """Return the id of a job that runs until the test ends, or releases it."""
    server.hold()
    job_id = caller.upload(song)["id"]
    caller.wait(job_id, "processing")
    yield job_id
    server.release()
    caller.wait(job_id)


def asking(job_id: str, *lines: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    return request(f"/api/v1/status.php?id={job_id}", *lines, version=version, method=method)


class Waiter:
    """Wait for a job on a connection of one's own."""

    def __init__(self, server: Server, key: str, job_id: str, *lines: bytes) -> None:
        self.connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self.connection.sendall(asking(job_id, *(lines or (WAIT,))).replace(KEY, key.encode()))

    def close(self) -> None:
        self.connection.close()

    def answer(self) -> Answer:
        """Return the answer, once it is there."""
        with self.connection.makefile("rb") as file:
            answer = next_answer(file)
        assert answer is not None and answer.status == 200
        return answer

    def is_answered(self) -> bool:
        return bool(select.select([self.connection], [], [], 0)[0])


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_together(stack: ExitStack, server: Server, key: str, job_id: str, count: int) -> list[Waiter]:
    """Let so many wait; return them once each was let in."""

    def calls() -> int:
        return server.rows("SELECT sum(window_calls) AS calls FROM api_keys")[0]["calls"]

    before = calls()
    waiters = [stack.enter_context(closing(Waiter(server, key, job_id))) for _ in range(count)]
    until(lambda: calls() == before + count)
    return waiters


def fill_places(stack: ExitStack, server: Server, key: str, job_id: str) -> list[Waiter]:
    """Let more wait than may, at each worker, until all others are answered; return them all."""
    waiters = []
    for worker in server.workers():
        with server.only(worker):
            waiters += wait_together(stack, server, key, job_id, WAITERS + 20)
    until(lambda: sum(not waiter.is_answered() for waiter in waiters) <= 2 * WAITERS)
    return waiters


def applied(answer: Answer) -> list[str]:
    return answer.headers("Preference-Applied")


def test_everybody_else_is_served_beside_all_who_wait_and_all_hear_of_the_end(
    server: Server, key: str, caller: Caller, running: str, song: bytes
) -> None:
    with ExitStack() as stack:
        waiters = fill_places(stack, server, key, running)
        for _ in range(20):
            began = time.monotonic()
            assert caller.get("keys.php").status_code == 200
            assert caller.status(running)["status"] == "processing"
            assert time.monotonic() - began < AT_ONCE_SECONDS
        other = caller.upload(song)["id"]
        waiting = [waiter for waiter in waiters if not waiter.is_answered()]
        assert len(waiting) == 2 * WAITERS, "each worker has so many places"
        for waiter in waiters:
            if waiter not in waiting:
                answer = waiter.answer()
                assert applied(answer) == [] and int(*answer.headers("Retry-After")) >= 1
                assert answer.json()["data"]["status"] == "processing"
        server.release()
        ended = time.monotonic()
        for waiter in waiting:
            answer = waiter.answer()
            assert applied(answer) == ["wait=60"] and answer.json()["data"]["status"] == "completed"
        assert time.monotonic() - ended < AT_ONCE_SECONDS
    caller.wait(other)


def test_a_client_that_hangs_up_leaves_its_place_to_others(server: Server, key: str, running: str) -> None:
    with ExitStack() as stack:
        fill_places(stack, server, key, running)
    began = time.monotonic()
    until(lambda: bool(applied(ask_once(server, key, running))))
    assert time.monotonic() - began < AT_ONCE_SECONDS


def ask_once(server: Server, key: str, job_id: str) -> Answer:
    with closing(Waiter(server, key, job_id, b"Prefer: wait=1")) as waiter:
        return waiter.answer()


def test_a_client_that_closes_its_half_gets_the_present_state_at_once(
    server: Server, key: str, running: str
) -> None:
    began = time.monotonic()
    (answer,) = ask(server, key, asking(running, WAIT))
    assert answer.json()["data"]["status"] == "processing" and applied(answer) == []
    assert time.monotonic() - began < AT_ONCE_SECONDS


def test_old_and_hurried_clients_wait_as_well(server: Server, key: str, running: str) -> None:
    short = b"Prefer: wait=1"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        pieces = asking(running, short), asking(running, short, method=b"HEAD"), asking(running), asking("1_2", WAIT)
        connection.sendall(b"".join(pieces).replace(KEY, key.encode()))  # each before the answer to the one before
        with connection.makefile("rb") as file:
            first = next_answer(file)
            assert first is not None and applied(first) == ["wait=1"] and first.json()["data"]["id"] == running
            assert file.readline() == b"HTTP/1.1 200 OK\r\n"  # HEAD has a length and no body
            assert b"Preference-Applied: wait=1\r\n" in [*iter(file.readline, b"\r\n")]
            third, fourth = next_answer(file), next_answer(file)
        assert third is not None and applied(third) == [] and third.json()["data"]["id"] == running
        assert fourth is not None and fourth.status == 404
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(asking(running, short, version=b"HTTP/1.0").replace(KEY, key.encode()))
        with connection.makefile("rb") as file:
            old = next_answer(file)
            assert old is not None and applied(old) == ["wait=1"] and file.read() == b"", "and it is closed"


def test_an_upload_whose_answer_was_lost_is_sent_again_and_makes_one_job(
    server: Server, caller: Caller, song: bytes
) -> None:
    before = jobs(server)
    with CuttingProxy(server.port) as proxy:
        for _ in range(3):
            with pytest.raises(requests.ConnectionError):
                requests.post(
                    f"http://127.0.0.1:{proxy.port}/api/v1/upload.php",
                    files={"file": ("song.wav", song)},
                    data={"stems": "2"},
                    headers=caller.headers | {"Idempotency-Key": "cut"},
                    timeout=60,
                )
            assert proxy.cut.acquire(timeout=30)
        answer = caller.send(song, headers={"Idempotency-Key": "cut"}, stems="2")
    assert answer.status_code == 200 and answer.headers["Idempotent-Replayed"] == "true"
    assert jobs(server) == before + 1
    caller.wait(answer.json()["data"]["id"])


def jobs(server: Server) -> int:
    return server.rows("SELECT count(*) AS count FROM jobs")[0]["count"]


def test_the_same_upload_many_times_at_once_at_both_workers_makes_one_job(
    server: Server, caller: Caller, song: bytes
) -> None:
    before = jobs(server)

    def send(_: int) -> requests.Response:
        return caller.send(song, headers={"Idempotency-Key": "at-once", "Connection": "close"}, stems="2")

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(24)))
    deadline = time.monotonic() + 60
    while len({answer.headers["X-Worker"] for answer in answers}) < 2:  # one of them may have stood still
        assert time.monotonic() < deadline
        answers.append(send(0))
    accepted = [answer for answer in answers if answer.status_code == 200]
    assert len([answer for answer in accepted if "Idempotent-Replayed" not in answer.headers]) == 1
    assert len({answer.content for answer in accepted}) == 1 and jobs(server) == before + 1
    for answer in answers:
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]) == (400, "Upload in progress")
            assert int(answer.headers["Retry-After"]) >= 1


def test_a_key_in_flight_holds_until_its_upload_fails_or_its_process_has_died(
    server: Server, key: str, caller: Caller, song: bytes
) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="song.wav"\r\n\r\n' + song
    lines = b"Content-Type: multipart/form-data; boundary=b", b"Content-Length: 9999999"

    def begin(name: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        whole = request("/api/v1/upload.php", *lines, b"Idempotency-Key: " + name, method=b"POST", body=part)
        connection.sendall(whole.replace(KEY, key.encode()))
        until(lambda: bool(server.rows("SELECT 1 FROM idempotency_keys WHERE key = ?", name.decode())))
        return connection

    def send(name: str) -> requests.Response:
        return caller.send(song, headers={"Idempotency-Key": name}, stems="2")

    connection = begin(b"left")
    for _ in range(4):  # of both workers, probably
        assert send("left").json()["error"] == "Upload in progress"
    connection.close()
    until(lambda: send("left").status_code == 200)
    assert "Idempotent-Replayed" in send("left").headers

    connection = begin(b"killed")
    before = set(server.workers())
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    until(lambda: len(set(server.workers()) - before) == 2)
    connection.close()
    until(lambda: is_up(server))
    assert send("killed").json()["error"] == "Upload in progress"
    leased_until = server.rows("SELECT leased_until FROM idempotency_keys WHERE key = 'killed'")[0]["leased_until"]
    time.sleep(2.5)  # a round of housekeeping
    most = "datetime('now', '+41 seconds') AS most"
    (row,) = server.rows(f"SELECT leased_until, {most} FROM idempotency_keys WHERE key = 'killed'")
    assert row["leased_until"] == leased_until <= row["most"], "nobody renews it"


def is_up(server: Server) -> bool:
    try:
        return requests.get(f"{server.url}/health", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def test_a_reload_and_a_stop_answer_all_who_wait(
    server: Server, key: str, caller: Caller, song: bytes
) -> None:
    server.hold()
    job_id = caller.upload(song)["id"]
    with ExitStack() as stack:
        waiters = wait_together(stack, server, key, job_id, WAITERS)
        assert not any(waiter.is_answered() for waiter in waiters)
        before = set(server.workers())
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        for waiter in waiters:
            answer = waiter.answer()
            assert answer.json()["data"]["status"] in ("processing", "queued") and applied(answer) == []
    # The job goes on in a worker that came since; who waits there is answered when the whole server stops.
    until(lambda: not before & set(server.workers()) and is_up(server))
    with ExitStack() as stack:
        (waiter,) = wait_together(stack, server, key, job_id, 1)
        assert not waiter.is_answered()
        took_seconds = server.stop()
        assert waiter.answer().json()["data"]["id"] == job_id
    assert took_seconds < STOP_SECONDS
