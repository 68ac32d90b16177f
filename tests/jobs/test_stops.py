"""Stops of a real gunicorn while the real engine gets ready: quick and clean, and nothing goes on without it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.servers import Server
from tests.support.tensorflow import needs_tensorflow

STOP_SECONDS = 10.0


@needs_tensorflow
@pytest.mark.parametrize("late", [False, True], ids=["as it begins", "in its midst"])
def test_a_stop_while_tensorflow_is_being_imported_is_quick_and_clean(tmp_path: Path, late: bool) -> None:
    with Server(tmp_path / "instance", "wsgi:app", engine="tensorflow") as server:
        until(lambda: not late or any("tensorflow" in maps(str(pid)) for pid in server.workers()))
        assert server.stop() < STOP_SECONDS
    assert_clean(server)


def maps(pid: str) -> str:
    """Return what a process has in its memory, which is nothing once it has ended."""
    return told(Path(f"/proc/{pid}/maps"))


def told(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_clean(server: Server) -> None:
    """Hold that a server ended as it should, before its first network was loaded."""
    assert server.process is not None and server.process.returncode == 0
    log = server.log.read_text()
    assert log.count(": closed") == 1
    for word in ("Traceback", "Fatal", "ERROR", "was sent", "warmed"):
        assert word not in log, log
