"""A real gunicorn with its default threads, loaded in every way at once that a box must stand; its speed is measured
by `benchmarks/bench_load.py`, these limits are wide enough for any machine."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import requests

from ezstems.server.seats import ACCOUNT_SEATS
from tests.support.audio_files import song as make_song
from tests.support.audio_files import write_wav
from tests.support.callers import Caller
from tests.support.loads import (
    FORM,
    Memory,
    SlowClients,
    answer_seconds,
    head,
    line_up,
    percentile,
    upload_at_once,
    upload_head,
)
from tests.support.servers import Server

CONNECTIONS = 300
# Far above what an answer takes on a busy machine, far below what one takes that waits for a slow client.
AT_ONCE_SECONDS = 5.0
LOGIN = head("/login", "Content-Type: application/x-www-form-urlencoded")
SLOW_HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"GUNICORN_CMD_ARGS": f"--worker-connections {CONNECTIONS}", "FAST_PATIENCE": "3"}
    with Server(tmp_path_factory.mktemp("load") / "instance", **limits) as server:
        yield server


@pytest.fixture(scope="module")
def caller(server: Server) -> Caller:
    return Caller(server, server.key(plan="pro"))


def assert_others_are_served(caller: Caller) -> None:
    """Hold that calls on new connections are answered, soon."""
    for _ in range(10):
        started = time.monotonic()
        assert caller.get("keys.php").status_code == 200
        assert time.monotonic() - started < AT_ONCE_SECONDS


def test_slow_clients_do_not_stop_others(server: Server, caller: Caller) -> None:
    loads = {
        "200 idle connections": (200, b""),
        "32 heads a byte at a time": (32, SLOW_HEAD),
        "32 heads after a whole request": (32, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /h"),
        "32 bodies of somebody known": (32, upload_head(caller)),
    }
    with ExitStack() as stack:
        for count, beginning in loads.values():
            known = stack.enter_context(SlowClients(server, count, beginning))
            assert_others_are_served(caller)
        deadline = time.monotonic() + 60
        while len(known.open) > ACCOUNT_SEATS:  # the bodies come last
            assert time.monotonic() < deadline, "an account has more seats than it may"
            time.sleep(0.1)
        assert_others_are_served(caller)
        assert len(known.open) == ACCOUNT_SEATS and {answer.split()[1] for answer in known.answers} == {b"500"}
        strangers = stack.enter_context(SlowClients(server, 32, LOGIN))
        assert_others_are_served(caller)
        deadline = time.monotonic() + 60
        while strangers.open:
            assert time.monotonic() < deadline, "strangers are still waited for"
            assert_others_are_served(caller)
    assert {answer.split()[1] for answer in strangers.answers if answer} <= {b"400", b"500"}


def test_a_stranger_is_not_waited_for_whatever_it_asks(server: Server) -> None:
    requests_of_strangers = {
        "log in": LOGIN,
        "register": head("/register", "Content-Type: application/x-www-form-urlencoded"),
        "upload without a session": head("/upload", FORM),
        "upload without a key": head("/api/v1/upload.php", FORM),
        "upload a lot without a key": head("/api/v1/upload.php", FORM, length=400_000_000),
        "use a wrong method": head("/api/v1/status.php"),
        "call what isn't there": head("/nowhere"),
        "send chunks": head("/upload", FORM, "Transfer-Encoding: chunked").replace(b"Content-Length: 10000\r\n", b""),
    }
    with ExitStack() as stack:
        slow = {what: SlowClients(server, 1, beginning) for what, beginning in requests_of_strangers.items()}
        for client in slow.values():
            stack.enter_context(client)
        deadline = time.monotonic() + 60
        while waiting := [what for what, client in slow.items() if client.open]:
            assert time.monotonic() < deadline, f"these are still waited for: {waiting}"
            time.sleep(0.1)
    answers = {what: client.answers[0].split()[1] for what, client in slow.items()}
    assert list(answers.values()) == [b"400", b"400", b"302", b"401", b"401", b"405", b"404", b"302"], answers


def test_more_connections_than_may_be_make_room(server: Server, caller: Caller) -> None:
    with SlowClients(server, CONNECTIONS + 50, b"") as idle:
        assert_others_are_served(caller)
        deadline = time.monotonic() + 60
        while len(idle.open) >= CONNECTIONS:  # until the slow client has noticed which were closed
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_client_that_does_not_close_its_end_keeps_nobody_waiting(server: Server, caller: Caller) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert_others_are_served(caller)


def test_requests_sent_together_are_answered_one_after_the_other(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        connection.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3


def test_eight_large_uploads_at_once_hardly_take_memory(server: Server, caller: Caller) -> None:
    (worker,) = server.workers()
    memory = Memory(worker)
    server.hold()
    upload_at_once(caller, 8, 1_000_000)  # threads, connections and libraries are there from now on
    before_mb = memory.read_mb()
    with memory.watched():
        upload_at_once(caller, 8, 75 * 1024 * 1024)
    assert memory.most_mb - before_mb < 64


def test_a_thousand_waiting_jobs_cost_a_status_call_little(server: Server, caller: Caller, song: bytes) -> None:
    server.hold()
    caller.upload(song)  # the only one that runs, unless another does
    waiting = caller.upload(song)["id"]
    last = line_up(caller, waiting, 1000)
    assert caller.status(last)["queue_position"] == caller.status(waiting)["queue_position"] + 1000

    taken = answer_seconds(caller, f"status.php?id={last}", connections=2, per_second=20, seconds=2)

    assert percentile(taken, 50) < 0.2


def test_status_calls_are_answered_while_a_song_is_separated(tmp_path: Path) -> None:
    # Eight minutes take a while to separate; made of twenty seconds, they take none to make.
    song = write_wav(tmp_path / "song.wav", np.tile(make_song(20 * 44_100), (24, 1))).read_bytes()
    with Server(tmp_path / "instance", "wsgi:app", model="builtin") as server:
        caller = Caller(server, server.key(plan="custom", max_mb=300))
        job_id = caller.upload(song, stems=5, output="mp3")["id"]
        caller.wait(job_id, "processing")

        taken = answer_seconds(caller, f"status.php?id={job_id}", connections=20, per_second=200, seconds=2)

        assert len(taken) == 400
        assert percentile(taken, 99) < AT_ONCE_SECONDS
        assert caller.status(job_id)["status"] == "processing"
        assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
