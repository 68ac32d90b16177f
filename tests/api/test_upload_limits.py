"""`upload.php`: what is too large, and a server that has no room."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ezstems.jobs import Incoming
from tests.conftest import Account
from tests.support.multipart import (
    URL,
    Padded,
    Upload,
    assert_nothing_left,
    body,
    error_of,
    field,
    file_part,
    job_of,
    post,
    stream,
    uploads,
)
from tests.support.separation_box import fill_queue
from tests.support.separators import FastSeparator

MIB = 1024 * 1024
STEMS = field("stems", "2")


@pytest.fixture
def small(make_account: Callable[..., Account]) -> Account:
    """Return an account whose files may have one MiB."""
    return make_account(email="small@example.com", plan="custom", max_mb=1)


def too_large(plan: str, max_mb: int) -> str:
    return f"The file is over the {max_mb} MB that the {plan} plan allows."


def test_a_file_of_exactly_the_limit_and_one_byte_more(
    app: Flask, upload: Upload, small: Account, song: bytes, separator: FastSeparator
) -> None:
    separator.hold()
    exact = song + bytes(MIB - len(song))
    answer = upload(content=exact + b"\0", who=small)
    assert error_of(answer) == too_large("custom", 1)
    assert answer.json["error"] == "File too large"
    assert_nothing_left(app)
    assert job_of(app, upload(content=exact, who=small)).size_bytes == MIB


def test_the_limit_of_every_plan_streamed(
    app: Flask, client: FlaskClient, make_account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = []

    def send(who: Account, size: int) -> TestResponse:
        def count(self: Incoming, block: bytes) -> None:
            self.size_bytes += len(block)
            ahead.append(content.taken - self.size_bytes)

        head, tail = body(file_part(b"@"), STEMS).split(b"@")
        content = Padded(head, size, tail)
        monkeypatch.setattr(Incoming, "write", count)
        return stream(client, who.headers, content, content.length)

    monkeypatch.setattr("ezstems.audio.decode.check", lambda path, extension: None)
    for plan, max_mb in (("basic", 30), ("premium", 40), ("pro", 75), ("custom", 2), ("custom", 300)):
        who = make_account(f"{plan}{max_mb}@example.com", plan, max_mb if plan == "custom" else None)
        assert error_of(send(who, max_mb * MIB + 1)) == too_large(plan, max_mb)
        assert job_of(app, send(who, max_mb * MIB)).size_bytes == max_mb * MIB
    assert max(ahead) < MIB, "the body goes to the disk as it comes; memory does not grow with the file"


def test_a_body_that_announces_far_too_much_is_refused_unread(
    app: Flask, client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreadable(Padded):
        def readinto(self, buffer: Any) -> int:
            raise AssertionError("the body was read")

    monkeypatch.setattr("ezstems.server.request_body.MAX_BYTES", 0)
    answer = stream(client, account.headers, Unreadable(b"", 0, b""), 400 * MIB)
    assert error_of(answer) == too_large("basic", 30)
    assert_nothing_left(app)


def test_a_body_of_unknown_length_is_cut_off_at_the_limit_and_drained(
    app: Flask, client: FlaskClient, small: Account, song: bytes
) -> None:
    large = body(STEMS, file_part(song + b"CUT HERE"))
    cover = body(STEMS, file_part(song), file_part(b"CUT HERE", "cover.png", name="cover"))
    for whole in (large, cover):
        head, tail = whole.split(b"CUT HERE")
        content = Padded(head, 5 * MIB, tail)
        answer = stream(client, small.headers, content)
        assert error_of(answer) == too_large("custom", 1)
        assert content.read(1) == b"", "a client that is still sending would not read its answer"
        assert_nothing_left(app)


def test_an_early_answer_drains_the_body(client: FlaskClient, account: Account) -> None:
    for url, headers in ((URL, {}), ("/api/v1/nowhere", {}), ("/api/v1/status.php", account.headers)):
        content = Padded(b"", 3 * MIB, b"")
        assert stream(client, headers, content, 3 * MIB, url).status_code in (401, 404, 405)
        assert content.read(1) == b""


def test_a_body_beyond_patience_is_not_waited_for(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezstems.server.request_body.MAX_BYTES", 2 * MIB)
    for length in (None, 5 * MIB):
        content = Padded(b"", 5 * MIB, b"")
        error_of(stream(client, {}, content, length), 401)
        assert content.read(1) == b"\0"


def test_a_full_queue(
    app: Flask, make_app: Callable[..., Flask], account: Account, separator: FastSeparator, song: bytes
) -> None:
    separator.hold()
    full = make_app(queue_size=1)
    content = body(file_part(song), STEMS)
    jobs = [job_of(app, post(full.test_client(), account.headers, content))]
    assert separator.started.wait(60)
    jobs.append(job_of(app, post(full.test_client(), account.headers, content)))
    answer = post(full.test_client(), account.headers, content)
    assert "queue is full" in error_of(answer, 500)
    assert answer.json["error"] == "Server full"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["X-RateLimit-Remaining"] == "97"
    assert uploads(app) == sorted(job.filename for job in jobs)


def test_the_last_seat_goes_to_one_of_two(
    app: Flask, make_app: Callable[..., Flask], account: Account, monkeypatch: pytest.MonkeyPatch, song: bytes
) -> None:
    # Both were admitted before either was checked: the seat decides.
    full = make_app(queue_size=1)
    monkeypatch.setattr("ezstems.jobs.Desk.admit", lambda self, user, expected_bytes=0: None)
    fill_queue(monkeypatch)
    answer = post(full.test_client(), account.headers, body(file_part(song), STEMS))
    assert "queue is full" in error_of(answer, 500)
    assert int(answer.headers["Retry-After"]) > 0
    assert_nothing_left(app)


def test_a_full_disk(app: Flask, make_app: Callable[..., Flask], account: Account, song: bytes) -> None:
    full = make_app(min_free_mb=10**8)
    answer = post(full.test_client(), account.headers, body(file_part(song), STEMS))
    assert "disk is full" in error_of(answer, 500)
    assert answer.json["error"] == "Server full"
    assert int(answer.headers["Retry-After"]) > 0
    assert_nothing_left(app)


def test_a_disk_that_fills_up_while_the_file_comes(
    app: Flask, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, file: Any, code: int) -> None:
            self._file = file
            self._code = code

        def write(self, block: bytes) -> None:
            raise OSError(self._code, os.strerror(self._code), "/secret/path")

        def close(self) -> None:
            self._file.close()

    real = Incoming.__init__
    for code in (errno.ENOSPC, errno.EDQUOT):

        def fill(self: Incoming, path: Path, code: int = code) -> None:
            real(self, path)
            self._file = Full(self._file, code)  # type: ignore[assignment]

        monkeypatch.setattr(Incoming, "__init__", fill)
        answer = upload()
        assert "disk is full" in error_of(answer, 500)
        assert "secret" not in answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert_nothing_left(app)


def test_a_disk_that_fills_up_or_breaks_at_the_sync(
    app: Flask, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(code: int) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            raise OSError(code, os.strerror(code))

        return fsync

    monkeypatch.setattr("ezstems.jobs.incoming.os.fsync", failing(errno.ENOSPC))
    answer = upload()
    assert "disk is full" in error_of(answer, 500)
    assert int(answer.headers["Retry-After"]) > 0
    assert_nothing_left(app)
    monkeypatch.setattr("ezstems.jobs.incoming.os.fsync", failing(errno.EIO))
    answer = upload()
    assert answer.json["error"] == "Server full" and "can't be written to" in error_of(answer, 500)
    assert "Input/output" not in answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert_nothing_left(app)


@pytest.mark.skipif(os.environ.get("BACKEND") == "cluster", reason="no folder is synced where a store keeps uploads")
def test_a_row_that_cannot_be_written_leaves_no_file(
    app: Flask, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("ezstems.jobs.folder_archive.sync", broken)
    error_of(upload(), 500)
    assert_nothing_left(app)
