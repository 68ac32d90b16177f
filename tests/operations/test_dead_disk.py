"""A disk that goes read-only in the midst of it all, as ext4 does after an error: truthful answers, nothing lost."""

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from sqlalchemy import exc

from ezstems import disk
from tests.jobs.test_stops import until
from tests.support.callers import Caller
from tests.support.servers import Server

DEAD = "The server's disk can't be written to. Try again later."


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a file that holds an empty file system."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be made here: {error}")
    return image


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file can't be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_file_system_that_shuts_down_under_a_server(image: Path, tmp_path: Path, song: bytes) -> None:
    folder = tmp_path / "disk"
    server = Server(folder / "instance", min_free_mb=1)
    server.log = tmp_path / "server.log"
    with mounted(image, folder), server:
        caller = Caller(server, server.key())
        done = caller.upload(song)["id"]
        caller.wait(done)
        server.hold()
        waiting = [caller.upload(song)["id"] for _ in range(3)]
        caller.wait(waiting[0], "processing")
        if subprocess.run(["mount", "-o", "remount,abort", str(folder)], capture_output=True).returncode:
            pytest.skip("this file system can't be shut down")
        for answer in (caller.send(song, stems=2), caller.get("status.php", id=done), caller.get("keys.php")):
            assert (answer.status_code, answer.json()) == (500, {"error": "Server full", "message": DEAD})
            assert int(answer.headers["Retry-After"]) > 0
        health = requests.get(f"{server.url}/health", timeout=30)
        assert (health.status_code, health.json()["message"]) == (503, DEAD)
        assert "unexpected" not in server.log.read_text(), "no answer was one of the last resort"
        assert server.stop() < 20
    # The kernel lets go of it some time after `umount`; until then a second mount is the first one again.
    until(lambda: not subprocess.run(["losetup", "--associated", str(image)], capture_output=True).stdout)
    subprocess.run(["e2fsck", "-f", "-y", str(image)], capture_output=True)
    with mounted(image, folder), server:
        server.release()
        for job_id in (done, *waiting):
            caller.wait(job_id)
            assert caller.get("download.php", id=job_id).content[:2] == b"PK"
        assert requests.get(f"{server.url}/health", timeout=30).status_code == 200


@pytest.mark.parametrize(
    ("error", "dead"),
    [
        (OSError(30, "Read-only file system"), True),
        (OSError(5, "Input/output error"), True),
        (OSError(28, "No space left on device"), False),
        (exc.OperationalError("x", {}, sqlite3.OperationalError("disk I/O error")), True),
        (exc.OperationalError("x", {}, sqlite3.OperationalError("attempt to write a readonly database")), True),
        (exc.OperationalError("x", {}, sqlite3.OperationalError("database is locked")), False),
        (None, False),
    ],
)
def test_what_is_dead(error: BaseException | None, dead: bool) -> None:
    assert disk.is_unwritable(error) is dead


def test_a_folder_is_alive_or_not(tmp_path: Path) -> None:
    assert disk.is_writable(tmp_path)
    assert not disk.is_writable(tmp_path / "none")
