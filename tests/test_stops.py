"""Stops of a real gunicorn while the real engine gets ready: quick and clean, and nothing goes on without it."""

import time
from pathlib import Path

import pytest

from tests.servers import Server

STOP_SECONDS = 10.0


@pytest.mark.parametrize("seconds_after_start", [0.0, 1.5])
def test_a_stop_while_tensorflow_is_being_imported_is_quick_and_clean(
    tmp_path: Path, seconds_after_start: float
) -> None:
    with Server(tmp_path / "instance", "wsgi:app", engine="tensorflow") as server:
        time.sleep(seconds_after_start)
        assert server.stop() < STOP_SECONDS
    assert_clean(server)


def assert_clean(server: Server) -> None:
    """Hold that a server ended as it should, before its first network was loaded."""
    assert server.process is not None and server.process.returncode == 0
    log = server.log.read_text()
    assert log.count(": closed") == 1
    for word in ("Traceback", "Fatal", "ERROR", "was sent", "warmed"):
        assert word not in log, log
