"""The log of a real gunicorn, plain and JSON: one line an event, whole, with its ids, whatever clients send."""

import json
import logging
import re
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from ezstems.log import Json, Plain
from tests.support.callers import Caller
from tests.support.separators import LABEL
from tests.support.servers import Server
from tests.support.sessions import enter, token_in

EMAIL = "someone@example.com"
PLAIN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [\w.]+ \[(\S[^]]*)\] .+")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# An escape sequence, ends of lines, a mark that turns the direction of reading, a NUL, no UTF-8, a forged line.
NASTY = "\x1b[31mred\r\n\x0b\x85\u2028\u202e\x7f\x00\udcff 2020-01-01T00:00:00.000Z INFO forged [-] line"
RESULT_BYTES = 50_000_000

as_json = pytest.mark.parametrize("form", ["json"], indirect=True)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder for instances, one of which has an account, and its key."""
    folder = tmp_path_factory.mktemp("logs")
    return folder, Server(folder / "instance").key()


@pytest.fixture(scope="module", params=["plain", "json"])
def form(request: pytest.FixtureRequest) -> str:
    """Return how the server's log is written."""
    return request.param


@pytest.fixture(scope="module")
def server(account: tuple[Path, str], form: str) -> Iterator[Server]:
    server = Server(account[0] / "instance", log=form, treads="3")  # no setting: a warning before the log is set up
    server.log = server.log.with_suffix(f".{form}")
    with server:
        yield server


@pytest.fixture
def caller(server: Server, account: tuple[Path, str]) -> Caller:
    return Caller(server, account[1])


def nasty_bytes(text: str = NASTY) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def lines_of(server: Server) -> list[str]:
    """Return the log's lines, but one that is being written."""
    whole, _, _ = server.log.read_bytes().rpartition(b"\n")
    return whole.decode("ascii").splitlines()


def objects(server: Server, **fields: Any) -> list[dict[str, Any]]:
    """Return the log's objects that bear these fields."""
    found = [json.loads(line) for line in lines_of(server)]
    return [each for each in found if fields.items() <= each.items()]


def request_line(server: Server, request_id: str) -> dict[str, Any]:
    """Wait for the line of a request; return its object, the only one."""
    deadline = time.monotonic() + 60
    while not (found := objects(server, request_id=request_id, logger="ezstems.web.request_log")):
        assert time.monotonic() < deadline, lines_of(server)[-20:]
        time.sleep(0.05)
    (line,) = found
    return line


def raw(server: Server, request: bytes) -> bytes:
    """Send bytes; return the answer up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def check_whole(server: Server, form: str) -> None:
    """Hold the whole log to its form: nothing but whole lines, and stacks set in below them."""
    text = server.log.read_bytes()
    assert re.search(rb"[^\x20-\x7e\n]", text) is None
    lines = lines_of(server)
    assert len(lines) > 10
    for line in lines:
        assert len(line) < 25_000
        if form == "json":
            found = json.loads(line)
            assert all(each.isprintable() for each in found.pop("stack", "").split("\n"))
            assert TIME.fullmatch(found["time"]) and {"level", "logger", "process", "message"} <= found.keys()
            assert all(value.isprintable() for value in found.values() if isinstance(value, str))
        else:
            assert line.startswith("    ") or PLAIN.fullmatch(line), line
            assert not line.startswith("2020")
    starts = len([line for line in lines if "Starting gunicorn" in line])
    for said in ("Booting worker", "EZSTEMS_TREADS is no setting", "started with the model"):
        assert len([line for line in lines if said in line]) == starts, said


def test_nothing_from_a_client_breaks_a_line(caller: Caller, form: str, song: bytes) -> None:
    server = caller.server
    close = b"Host: x\r\nConnection: close\r\n"
    quoted = "".join(f"%{byte:02x}" for byte in nasty_bytes()).encode()
    authorization = f"Authorization: {caller.headers['Authorization']}\r\n".encode()
    api = b"/api/v1/status.php?id="
    inside = nasty_bytes(NASTY.replace("\r\n", "").replace("\x00", ""))
    raw(server, b"GET /" + quoted + b" HTTP/1.1\r\n" + close + b"\r\n")
    raw(server, b"GET /" + b"long" * 1000 + b" HTTP/1.1\r\n" + close + b"\r\n")
    raw(server, b"GET " + api + quoted + b" HTTP/1.1\r\n" + close + authorization + b"\r\n")
    for header in b"X-Request-ID User-Agent Referer Authorization X-Forwarded-For Cookie Host".split():
        for value in (inside, b"a\nb", b"a\x00b", b"long" * 1000):
            raw(server, b"GET " + api + b"1_2 HTTP/1.1\r\n" + header + b": " + value + b"\r\n" + close + b"\r\n")
    raw(server, inside + b" / HTTP/1.1\r\n" + close + b"\r\n")
    raw(server, b"GET / HTTP/1.1" + inside + b"\r\n" + close + b"\r\n")

    for name in ("file", "stems", "cutoff", "output", NASTY):
        for value in (NASTY, "long" * 900, ""):
            fields = {"stems": b"2", "file": song} | {name: nasty_bytes(value)}
            filename = f"{value}.wav" if name == "file" else "song.wav"
            content = b"".join(
                b'--b\r\nContent-Disposition: form-data; name="' + nasty_bytes(each)
                + (b'"; filename="' + nasty_bytes(filename) if each == "file" else b"")
                + b'"\r\n\r\n' + field + b"\r\n"
                for each, field in fields.items()
            )  # fmt: skip
            head = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n" % (len(content) + 5)
            head += close + authorization
            raw(server, b"POST /api/v1/upload.php HTTP/1.1\r\n" + head + b"\r\n" + content + b"--b--")

    for page in ("login", "register"):
        with requests.Session() as session:
            for email in (f"{NASTY}@example.com", "long" * 1000):
                data = {"csrf_token": token_in(session.get(f"{server.url}/{page}", timeout=30).text)}
                data |= {"email": nasty_bytes(email), "password": nasty_bytes()}
                assert session.post(f"{server.url}/{page}", data=data, timeout=30).status_code < 500
    raw(server, b"GET /health HTTP/1.1\r\nX-Request-ID: the-last-one\r\n" + close + b"\r\n")

    server.logged("the-last-one")
    check_whole(server, form)
    text = server.log.read_text()
    assert "longlong" in text and "long" * 100 not in text
    assert r"\u202e" in text and r"\x1b[31m" in text


@pytest.mark.parametrize("formatter", [Plain(), Json()])
def test_nothing_in_an_error_breaks_a_line(formatter: Plain) -> None:
    try:
        raise ValueError(NASTY + "long" * 10_000 + "\n" * 80)
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "", 1, "%s", (NASTY,), sys.exc_info())
    record.request_id, record.path = f"-{NASTY}", NASTY
    text = formatter.format(record)
    assert len(text) < 20_000 and r"\x1b[31mred" in text and "ValueError" in text
    if isinstance(formatter, Json):
        found = json.loads(text)
        assert "\\u202e" in found["path"] and found["path"].isprintable() and found["request_id"].isprintable()
        lines = found["stack"].split("\n")
    else:
        first, *lines = text.split("\n")
        assert PLAIN.sub("", first) == "" and all(line.startswith("    ") for line in lines)
    assert len(lines) > 4 and all(line.isprintable() for line in lines)


def test_json_keeps_an_object_of_numbers() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 1, "a line", (), None)
    record.clipped = {"vocals": 7, NASTY: {"deep": NASTY}}
    clipped = json.loads(Json().format(record))["clipped"]
    name, deep = list(clipped.items())[1]
    assert clipped["vocals"] == 7
    assert name.isprintable() and deep["deep"] == name and "\\u202e" in name


def test_a_crash_is_one_line_and_its_stack(caller: Caller, form: str, song: bytes) -> None:
    server = caller.server
    caller.wait(caller.upload(song)["id"])  # and so what other tests have queued before
    server.hold()
    caller.wait(caller.upload(song)["id"], "processing")
    job = caller.upload(song)
    (server.instance / "uploads" / job["filename"]).unlink()
    server.release()
    caller.wait(job["id"], "failed")
    server.logged(f"job {job['id']}: failed")
    check_whole(server, form)
    (failed,) = (line for line in lines_of(server) if f"job {job['id']}: failed" in line)
    if form == "json":
        assert json.loads(failed)["stack"].startswith("Traceback (most") and "DamagedFile" in failed
    else:
        lines = lines_of(server)
        assert lines[lines.index(failed) + 1] == "    Traceback (most recent call last):"
        assert PLAIN.fullmatch(failed)[1] == "-"


@as_json
def test_every_request_has_its_line(caller: Caller, song: bytes) -> None:
    server = caller.server
    account_id = server.rows("SELECT id FROM users")[0]["id"]
    job_id = caller.upload(song, **{"X-Request-ID": "an-upload"})["id"]
    line = request_line(server, "an-upload")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/api/v1/upload.php", 200)
    assert (line["address"], line["account_id"]) == ("127.0.0.1", account_id)
    assert 0 < line["seconds"] < 60 and line["bytes"] > 100
    (queued,) = objects(server, job_id=job_id, event="queued")
    assert (queued["request_id"], queued["bytes"], queued["account_id"]) == ("an-upload", len(song), account_id)

    caller.wait(job_id)
    server.resize(job_id, RESULT_BYTES)
    download = f"/api/v1/download.php?id={job_id}"
    for request_id, method, path, headers, status, length in (
        ("whole", "GET", download, caller.headers, 200, RESULT_BYTES),
        ("a-range", "GET", download, caller.headers | {"Range": "bytes=10-19"}, 206, 10),
        ("a-head", "HEAD", download, caller.headers, 200, 0),
        ("a-stranger", "GET", download, {}, 401, None),
        ("nowhere", "GET", "/nowhere", {}, 404, None),
        ("a-wrong-method", "DELETE", "/api/v1/upload.php", caller.headers, 405, None),
        ("a-style", "GET", "/static/style.css", {}, 200, None),
    ):
        answer = requests.request(
            method, f"{server.url}{path}", headers={"X-Request-ID": request_id} | headers, timeout=60
        )
        line = request_line(server, request_id)
        assert (line["method"], line["path"], line["status"]) == (method, path.partition("?")[0], status)
        assert line["bytes"] == len(answer.content) == (len(answer.content) if length is None else length)
        assert "broken_off" not in line, request_id
        assert line.get("account_id") == (account_id if "Authorization" in headers and status < 400 else None)


@as_json
def test_an_answer_that_nobody_waits_for_has_its_line(caller: Caller, song: bytes) -> None:
    server = caller.server
    job_id = caller.upload(song)["id"]
    caller.wait(job_id)
    server.resize(job_id, RESULT_BYTES)
    head = f"GET /api/v1/download.php?id={job_id} HTTP/1.1\r\nHost: x\r\nX-Request-ID: impatient\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"{head}Authorization: {caller.headers['Authorization']}\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    line = request_line(server, "impatient")
    assert line["broken_off"] is True and line["bytes"] < RESULT_BYTES


@as_json
def test_every_event_of_a_job_is_one_line(caller: Caller, song: bytes) -> None:
    server = caller.server

    def events(job_id: str, last: str) -> list[str]:
        server.logged(f"job {job_id}: {last}")
        return [each["event"] for each in objects(server, job_id=job_id)]

    def until_started(job_id: str, times: int) -> None:
        """Wait for the event, which comes after the row says so."""
        deadline = time.monotonic() + 60
        while len(objects(server, job_id=job_id, event="started")) < times:
            assert time.monotonic() < deadline, lines_of(server)[-20:]
            time.sleep(0.05)

    expiring = caller.upload(song)["id"]
    caller.wait(expiring)
    server.hold()
    running, waiting = (caller.upload(song)["id"] for _ in range(2))
    caller.wait(running, "processing")
    with enter(server.url, EMAIL) as session:
        session.post(f"{server.url}/songs/{waiting}/delete", timeout=60).raise_for_status()
        server.stop()
        with closing(sqlite3.connect(server.instance / "ezstems.sqlite3")) as database, database:
            database.execute("UPDATE jobs SET finished_at = '2020-01-01 00:00:00' WHERE id = ?", [expiring])
        server.start()
        until_started(running, 2)
        session.post(f"{server.url}/songs/{running}/delete", timeout=60).raise_for_status()

    assert events(waiting, "deleted") == ["queued", "deleted"]
    again = ["interrupted", "adopted", "started"]
    *before, last, very_last = events(running, "stopped")
    assert before == ["queued", "started", *again]
    assert {last, very_last} == {"deleted", "stopped"}  # told by two threads
    assert events(expiring, "expired") == ["queued", "started", "completed", "expired"]
    (completed,) = objects(server, job_id=expiring, event="completed")
    assert (completed["model"], completed["audio_seconds"]) == (LABEL, 0.01)
    assert 0 <= completed["seconds"] < 60
    server.release()
    check_whole(server, "json")
