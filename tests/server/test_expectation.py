"""`Expect: 100-continue`: whoever is refused is told before the body, and whoever is not is told to go on."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from ezstems.models import PLAN_MAX_MB
from tests.clients.programs import curl
from tests.support.callers import Caller
from tests.support.multipart import CONTENT_TYPE, body, field, file_part
from tests.support.servers import Server
from tests.support.wire import KEY, UPLOAD, Answer, next_answer, request, upload

MIB = 1024 * 1024
EXPECT = b"Expect: 100-continue"
TYPE = b"Content-Type: " + CONTENT_TYPE.encode()
WRONG = b"Authorization: Bearer " + b"x" * 64
STATUS = "/api/v1/status.php?id=1_2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("expectation") / "instance", queue_size=1) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.key("someone@example.com", "basic")


@contextmanager
def connected(server: Server) -> Iterator[tuple[socket.socket, IO[bytes]]]:
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=60) as connection, connection.makefile("rb") as file:
        yield connection, file


def head(length: int = 5000, *lines: bytes, target: bytes | str = UPLOAD, method: bytes = b"POST") -> bytes:
    """Return the head of an upload whose body waits for an answer."""
    return request(target, TYPE, b"Content-Length: %d" % length, EXPECT, *lines, method=method)


def answer_before_the_body(server: Server, key: str, sent: bytes) -> Answer:
    """Send a head alone; return the answer, which must be final, and the last on its connection."""
    with connected(server) as (connection, file):
        connection.sendall(sent.replace(KEY, key.encode()))
        answer = next_answer(file)
        assert answer is not None and answer.status != 100
        assert answer.headers("Connection") == ["close"]
        assert next_answer(file) is None
    assert list(answer.json()) == ["error", "message"]
    return answer


def test_who_is_refused_is_told_before_the_body(server: Server, key: str) -> None:
    nobody = head().replace(b"Authorization", b"X-A")
    limit = PLAN_MAX_MB["basic"] * MIB
    for name, sent, status in (
        ("wrong key", head().replace(b"Bearer " + KEY, b"Bearer no"), 401),
        ("no key", nobody, 401),
        ("no key, in chunks", nobody.replace(b"Content-Length: 5000", b"Transfer-Encoding: chunked"), 401),
        ("no key to make keys", head(target="/api/v1/keys.php"), 401),
        ("no such path", head(target="/api/v1/nowhere.php"), 404),
        ("no such method", head(target=STATUS), 405),
        ("over the plan's limit", head(limit + 2 * MIB), 400),
        ("over every limit", head(10**12), 400),
        ("another type", head().replace(CONTENT_TYPE.encode(), b"application/json"), 400),
        ("compressed", head(5000, b"Content-Encoding: gzip"), 400),
        ("an unknown host", head().replace(b"Host: 127.0.0.1", b"Host: ?"), 400),
    ):
        assert answer_before_the_body(server, key, sent).status == status, name


def test_a_key_without_calls_left_is_told_before_the_body(server: Server, key: str) -> None:
    used_up = server.command("keys", "add", "someone@example.com", "--rate-limit", "1")
    assert Caller(server, used_up).get("keys.php").status_code == 200
    answer = answer_before_the_body(server, used_up, head())
    assert (answer.status, answer.json()["error"]) == (403, "Rate limit exceeded")


def test_a_full_queue_is_told_before_the_body(server: Server, key: str, song: bytes) -> None:
    server.hold()
    caller = Caller(server, key)
    try:
        running = caller.upload(song)["id"]
        caller.wait(running, "processing")
        waiting = caller.upload(song)["id"]
        answer = answer_before_the_body(server, key, head())
    finally:
        server.release()
    assert (answer.status, answer.json()["error"]) == (500, "Server full") and answer.headers("Retry-After")
    caller.wait(waiting)


def test_a_full_disk_is_told_before_the_body(tmp_path: Path) -> None:
    with Server(tmp_path / "instance", min_free_mb=1_000_000_000) as server:
        answer = answer_before_the_body(server, server.key(), head())
        assert (answer.status, answer.json()["error"]) == (500, "Server full") and answer.headers("Retry-After")


def test_who_is_welcome_is_told_to_go_on_once_and_keeps_the_connection(server: Server, key: str, song: bytes) -> None:
    content = body(file_part(song), field("stems", "2"))
    with connected(server) as (connection, file):
        for _ in range(2):
            connection.sendall(head(len(content)).replace(KEY, key.encode()))
            go_on = next_answer(file)
            assert go_on is not None and (go_on.status, go_on.lines) == (100, [])
            connection.sendall(content[:1000])
            connection.sendall(content[1000:])
            answer = next_answer(file)
            assert answer is not None and answer.status == 200, answer
            assert answer.headers("Connection") == ["keep-alive"]
            Caller(server, key).wait(answer.json()["data"]["id"])


def test_a_body_that_came_all_the_same_is_no_next_request(server: Server, key: str) -> None:
    hidden = request(STATUS)
    for lines, status in (((WRONG,), 401), ((b"Content-Encoding: gzip",), 400)):
        sent = upload(hidden, CONTENT_TYPE, EXPECT, *lines)
        sent = sent.replace(b"Authorization: Bearer " + KEY + b"\r\n", b"", 1) if WRONG in lines else sent
        with connected(server) as (connection, file):
            connection.sendall((sent + request("/api/v1/keys.php")).replace(KEY, key.encode()))
            answers = [next_answer(file), next_answer(file)]
        assert [answer and answer.status for answer in answers] == [status, 200], answers


def test_a_body_that_comes_after_the_answer_is_no_next_request(server: Server, key: str) -> None:
    with connected(server) as (connection, file):
        connection.sendall(head().replace(b"Bearer " + KEY, b"Bearer no"))
        answer = next_answer(file)
        assert answer is not None and answer.status == 401
        connection.sendall(request("/api/v1/keys.php").replace(KEY, key.encode()) * 20)
        assert next_answer(file) is None


def test_curl_sends_nothing_with_a_wrong_key(server: Server, key: str, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    with song.open("wb") as file:
        file.truncate(90_000_000)
    # By itself it waits for a second, then sends the body all the same.
    waits = ("-H", EXPECT.decode(), "--expect100-timeout", "60")
    form = ("-F", f"file=@{song}", "-F", "stems=2", *waits, f"{server.api}/upload.php")
    said = "\n%{http_code} %{size_upload}"
    for sent, status in (("no", "401"), (key, "400")):
        printed = curl(tmp_path, "-H", f"Authorization: Bearer {sent}", *form, "-w", said)
        assert printed.splitlines()[-1] == f"{status} 0", printed
