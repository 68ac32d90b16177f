"""Whatever the connection does, a download ends with the archive or a plain sentence, and is resumed if it can be."""

import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ezstems.errors import FetchFailed
from ezstems.weights import download, fetch
from tests.support.release import CHUNK, Server, assert_installed, assert_no_model, left_in, pack, running, serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server."""
    yield from running(monkeypatch)


@pytest.fixture(autouse=True)
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the release as the only source."""
    monkeypatch.setattr(fetch, "WHEELS", {})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The models' folder, which nobody has made yet."""
    return tmp_path / "instance" / "models"


def test_redirected(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, pack(), monkeypatch)
    assert fetch.fetch(2, models, base_url=f"{server.base_url}/moved/elsewhere")
    assert_installed(models)
    assert [request.path for request in server.requests] == ["/elsewhere/2stems.tar.gz"]


def test_a_broken_connection_is_resumed_where_it_broke(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    server.breaks = [3 * CHUNK, 2 * CHUNK]
    told: list[int] = []
    assert fetch.fetch(2, models, base_url=server.base_url, progress=lambda done, total: told.append(done))
    assert_installed(models)
    assert [request.span for request in server.requests] == [None, f"bytes={3 * CHUNK}-", f"bytes={5 * CHUNK}-"]
    assert sum(request.sent_bytes for request in server.requests) == len(server.content)
    assert told == sorted(told)


def test_the_next_call_resumes_what_broke_too_often(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    server.breaks = [CHUNK] * 3
    with pytest.raises(FetchFailed, match="the connection to 127.0.0.1 broke before the end of 2stems.tar.gz"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert len(server.requests) == 1 + download.RETRIES
    assert_no_model(models)
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    assert server.requests[-1].span == f"bytes={3 * CHUNK}-"
    assert sum(request.sent_bytes for request in server.requests) == len(server.content)


def test_a_server_that_cannot_resume_is_asked_from_the_start(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    server.ranges, server.breaks = False, [3 * CHUNK]
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    assert server.requests[1].span == f"bytes={3 * CHUNK}-"
    assert server.requests[1].sent_bytes == len(server.content)


def test_another_version_is_never_joined_to_the_first(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = os.urandom(5 * CHUNK)
    server.breaks = [CHUNK] * 3
    serve(server, server.content, monkeypatch)
    with pytest.raises(FetchFailed):
        fetch.fetch(2, models, base_url=server.base_url)
    server.requests.clear()
    serve(server, pack(), monkeypatch)
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    assert [request.span for request in server.requests] == [f"bytes={3 * CHUNK}-", None]
    assert server.requests[-1].sent_bytes == len(server.content)


def test_a_part_longer_than_the_archive_is_dropped(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    models.mkdir(parents=True)
    (models / "2stems.tar.gz.part").write_bytes(server.content + b"more")
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    assert [bool(request.span) for request in server.requests] == [True, False]


def test_a_partial_answer_from_elsewhere_is_not_joined(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    server.breaks, server.shift = [3 * CHUNK], -CHUNK
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    assert [bool(request.span) for request in server.requests] == [False, True, False]


def test_a_partial_answer_that_ends_early_is_continued(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    server.breaks, server.piece = [3 * CHUNK], 5 * CHUNK
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    assert [request.span for request in server.requests] == [None, f"bytes={3 * CHUNK}-", f"bytes={8 * CHUNK}-"]


def test_an_archive_labelled_as_encoded_is_kept_as_it_is(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    server.encoding = "gzip"
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)


def test_a_truncated_archive_of_unknown_length_is_refused(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    server.length, server.breaks = False, [4 * CHUNK]
    told: list[int | None] = []
    with pytest.raises(FetchFailed, match="is not the official 2stems.tar.gz"):
        fetch.fetch(2, models, base_url=server.base_url, progress=lambda done, total: told.append(total))
    assert set(told) == {None}
    assert not (models / "2stems.tar.gz.part").exists()
    assert_no_model(models)


def test_an_endless_answer_is_cut_off(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, pack(), monkeypatch)
    server.length = False
    monkeypatch.setattr(download, "ARCHIVE_LIMIT_BYTES", 2 * CHUNK)
    with pytest.raises(FetchFailed, match="is over 0 MiB"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert not (models / "2stems.tar.gz.part").exists()
    assert_no_model(models)


def test_a_full_disk_is_refused_before_anything_is_written(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    usage = type(download.shutil.disk_usage("/"))
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage(100 << 20, 60 << 20, 40 << 20))
    with pytest.raises(FetchFailed, match="2stems.tar.gz needs 65 MiB of free disk space, and 40 MiB are free"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert not left_in(models)
    assert_no_model(models)


def test_a_disk_that_fills_up_is_given_back_its_space(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(done_bytes: int, total_bytes: int | None) -> None:
        if done_bytes >= 2 * CHUNK:
            raise OSError(errno.ENOSPC, "No space left on device")

    serve(server, pack(), monkeypatch)
    with pytest.raises(FetchFailed, match="the disk filled up while 2stems.tar.gz was fetched"):
        fetch.fetch(2, models, base_url=server.base_url, progress=fill)
    assert not left_in(models)


def test_refused_connection_ends_at_once(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "RETRY_PAUSE_SECONDS", 30.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused
        started = time.monotonic()
        with pytest.raises(FetchFailed) as error:
            fetch.fetch(2, models, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert time.monotonic() - started < 20  # it is not asked again, which would be after a pause
    assert str(error.value) == (
        "could not reach 127.0.0.1; the bundled model stands in for what is missing "
        "until `ezstems models fetch` succeeds"
    )
    assert_no_model(models)


@pytest.mark.parametrize("answers", [False, True], ids=["silence", "no such name"])
def test_names_that_do_not_resolve_end_in_time(models: Path, monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    released = threading.Event()

    def look_up(*args: Any, **options: Any) -> list[Any]:
        if not answers:
            released.wait(120)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download.socket, "getaddrinfo", look_up)
    started = time.monotonic()
    with pytest.raises(FetchFailed, match="could not reach models.invalid; the bundled model stands in"):
        fetch.fetch(2, models, base_url="https://models.invalid/v1", connect_timeout_seconds=0.2)
    assert time.monotonic() - started < 40
    released.set()


def test_a_server_that_falls_silent_is_given_up(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, pack(), monkeypatch)
    server.stall_after = CHUNK
    monkeypatch.setattr(download, "READ_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(FetchFailed, match="broke before the end"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert_no_model(models)


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_an_error_status_is_named(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    serve(server, pack(), monkeypatch)
    server.status = status
    with pytest.raises(FetchFailed, match=f"127.0.0.1 answered {status} when asked for 2stems.tar.gz"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert len(server.requests) == 1
    assert_no_model(models)


def test_a_killed_process_leaves_no_model_and_the_next_one_resumes(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = serve(server, pack(), monkeypatch)
    server.stall_after = 4 * CHUNK
    script = f"""
        import pathlib
        from ezstems.weights import fetch
        fetch.ARCHIVES[2] = fetch.ReleaseArchive("2stems.tar.gz", "{sha256}")
        fetch.FILES[2] = {{}}
        fetch.fetch(2, pathlib.Path({str(models)!r}), base_url="{server.base_url}")
    """
    part = models / "2stems.tar.gz.part"
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) as process:
        deadline = time.monotonic() + 60
        while (part.stat().st_size if part.exists() else 0) < 3 * CHUNK:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert_no_model(models)
    had_bytes = part.stat().st_size
    server.stall_after = None
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    assert server.requests[-1].span == f"bytes={had_bytes}-"
    assert server.requests[-1].sent_bytes == len(server.content) - had_bytes
