"""A disk that is really full, gone or read-only: clear refusals and failures, nothing half left, and work goes on."""

import os
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.jobs.desk import Desk
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.outcome import BROKEN, NO_ROOM
from ezstems.models import COMPLETED, QUEUED, Job
from tests.support.audio_files import RATE_HZ, song, write_wav
from tests.support.callers import Caller
from tests.support.multipart import CONTENT_TYPE, URL, body, field, file_part
from tests.support.separators import FastSeparator
from tests.support.servers import Server

KIB, MIB = 1 << 10, 1 << 20
DISK_MIB, MIN_FREE_MIB = 48, 1  # room for every upload that is kept for a retry
WAITING = "the jobs that wait go on waiting"
PAGE = 4 * KIB
SHARES = "tests.soak.app:app"


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """Mount something on a folder, or skip where that isn't permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Disk:
    """Fill a small disk with ballast."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def leave(self, free_bytes: int) -> None:
        """Leave so many bytes free, a page more or less."""
        self._ballast.touch()
        wanted = self._ballast.stat().st_size + shutil.disk_usage(self.folder).free - free_bytes
        if wanted > self._ballast.stat().st_size:
            with self._ballast.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, wanted)
        else:
            os.truncate(self._ballast, wanted)

    def empty(self) -> None:
        """Take the ballast away."""
        self._ballast.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("full") / "instance"
    with mounted(folder, "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs"):
        yield Disk(folder)


@pytest.fixture(scope="module")
def everything(disk: Disk) -> Iterator[Caller]:
    """Return a caller of a server all of whose state lies on the small disk."""
    with Server(disk.folder, SHARES, min_free_mb=MIN_FREE_MIB) as server:
        yield Caller(server, server.key())


@pytest.fixture
def caller(everything: Caller, disk: Disk) -> Iterator[Caller]:
    yield everything
    disk.empty()
    everything.server.release()
    unfinished = "SELECT id FROM jobs WHERE status IN ('queued', 'processing')"
    eventually(lambda: not everything.server.rows(unfinished), "every job ends")
    eventually(lambda: not everything.server.parts(), "no part is left")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a WAV of a bit more than the free space under which uploads are refused."""
    return write_wav(tmp_path_factory.mktemp("music") / "song.wav", song(4 * RATE_HZ)).read_bytes()


def chunked(caller: Caller, content: bytes) -> requests.Response:
    """Upload without saying how much comes."""
    whole = body(field("stems", "2"), file_part(content))
    pieces = (whole[start : start + 64 * KIB] for start in range(0, len(whole), 64 * KIB))
    url, headers = f"{caller.server.url}{URL}", caller.headers | {"Content-Type": CONTENT_TYPE}
    return requests.post(url, data=pieces, headers=headers, timeout=60)


def assert_refused(answer: requests.Response) -> None:
    assert answer.status_code == 500, answer.text
    assert answer.json()["error"] == "Server full"
    assert "disk is full" in answer.json()["message"]
    assert int(answer.headers["Retry-After"]) > 0


def left(server: Server) -> list[str]:
    """Return the files of the jobs, and parts."""
    return sorted(path.name for folder in ("uploads", "results") for path in (server.instance / folder).iterdir())


@contextmanager
def commits_grow(disk: Disk) -> Iterator[None]:
    """Keep every commit from taking the place of an earlier one, by reading what was there before it."""
    with closing(sqlite3.connect(disk.folder / "ezstems.sqlite3")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        yield


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def error_of(server: Server, job_id: str) -> str:
    """Wait until a job has failed, by its row: no call is answered while its files fill the disk; return why."""
    failed = "SELECT error FROM jobs WHERE id = ? AND status = 'failed'"
    eventually(lambda: server.rows(failed, job_id), f"{job_id} fails")
    return str(server.rows(failed, job_id)[0]["error"])


def assert_works(caller: Caller, content: bytes) -> None:
    """Hold that a job goes through now."""
    assert caller.wait(caller.upload(content)["id"])["status"] == "completed"


def test_wherever_the_disk_gets_full_an_upload_is_refused_whole(caller: Caller, disk: Disk, music: bytes) -> None:
    server = caller.server
    server.hold()
    before = left(server)
    file_bytes = -(-len(music) // PAGE) * PAGE
    # Below the least free space, in the midst of the file, and, page for page, where its row is to be written.
    places = [MIN_FREE_MIB * MIB - 2 * PAGE, MIN_FREE_MIB * MIB + PAGE, file_bytes - PAGE]
    places += range(file_bytes, file_bytes + 60 * PAGE, PAGE)
    refused = 0
    with commits_grow(disk):
        for free_bytes in places:
            disk.leave(free_bytes)
            answer = chunked(caller, music)
            if answer.status_code == 200:
                break
            assert_refused(answer)
            assert left(server) == before
            refused += 1
    assert answer.status_code == 200 and refused > 3, "the row's commit was refused, too"
    job_id = answer.json()["data"]["id"]
    assert len(server.rows("SELECT id FROM jobs WHERE id = ?", job_id)) == 1
    disk.empty()
    server.release()
    caller.wait(job_id)


def test_the_least_free_space_is_kept_from_an_upload_of_known_length(
    caller: Caller, disk: Disk, music: bytes
) -> None:
    disk.leave(len(music) + MIN_FREE_MIB * MIB - PAGE)
    assert_refused(caller.send(music, stems=2))
    disk.leave(len(music) + MIN_FREE_MIB * MIB + 4 * PAGE)
    caller.server.hold()
    assert caller.send(music, stems=2).status_code == 200
    disk.empty()


STEM = 4 * RATE_HZ * 4


@pytest.mark.parametrize(
    ("output", "free_bytes"),
    [("wav", STEM // 2), ("wav", 5 * STEM // 2), ("mp3", 64 * KIB), ("flac", STEM)],
    ids=["a stem", "the ZIP", "ffmpeg: MP3", "ffmpeg: FLAC"],
)
def test_a_job_that_finds_no_room_fails_and_says_so(
    caller: Caller, disk: Disk, music: bytes, output: str, free_bytes: int
) -> None:
    server = caller.server
    before = left(server)
    server.hold()
    data = caller.send(music, stems=2, output=output).json()["data"]
    caller.wait(data["id"], "processing")
    disk.leave(free_bytes)
    server.release()
    assert error_of(server, data["id"]) == NO_ROOM
    kept = sorted([*before, data["filename"]])
    eventually(lambda: left(server) == kept, "the upload stays, for a retry when there is room")
    answer = caller.get("download.php", id=data["id"])
    assert answer.status_code == 400 and NO_ROOM in answer.json()["message"]
    disk.empty()
    assert_works(caller, music)


def test_a_call_whose_count_cannot_be_committed_is_refused_until_there_is_room(
    caller: Caller, disk: Disk, music: bytes
) -> None:
    server = caller.server
    with commits_grow(disk):
        disk.leave(0)
        for _ in range(3):
            assert_refused(caller.get("keys.php"))
        assert requests.get(f"{server.url}/health", timeout=60).status_code == 503
    disk.empty()
    assert caller.get("keys.php").status_code == 200
    assert server.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert_works(caller, music)


def test_an_outcome_that_cannot_be_committed_is_until_there_is_room(caller: Caller, disk: Disk, music: bytes) -> None:
    server = caller.server
    server.hold()
    job_id = caller.upload(music)["id"]
    caller.wait(job_id, "processing")
    with commits_grow(disk):
        disk.leave(0)
        server.release()
        (row,) = server.rows("SELECT number FROM jobs WHERE id = ?", job_id)
        server.logged(f"job number {row['number']}: the database failed; trying again")
        assert server.rows("SELECT status FROM jobs WHERE id = ?", job_id) == [{"status": "processing"}]
    disk.empty()
    assert error_of(server, job_id) == NO_ROOM


def test_what_waits_keeps_its_place_until_there_is_room(caller: Caller, disk: Disk, tmp_path: Path) -> None:
    server = caller.server
    full = f"the disk is full; {WAITING}"
    told, full_told = map(server.log.read_text().count, (WAITING, full))  # the others fill the disk, too
    server.hold()
    brief = write_wav(tmp_path / "brief.wav", song(RATE_HZ // 2)).read_bytes()  # given back, it isn't room enough
    running, *waiting = (caller.upload(brief)["id"] for _ in range(3))
    caller.wait(running, "processing")
    disk.leave(24 * PAGE)  # enough for rows alone
    server.release()
    assert error_of(server, running) == NO_ROOM
    eventually(lambda: server.log.read_text().count(full) > full_told, "the next may not begin")
    assert requests.get(f"{server.url}/health", timeout=60).json()["status"] == "full"
    assert [caller.get("status.php", id=job_id).json()["data"]["queue_position"] for job_id in waiting] == [1, 2]
    disk.empty()
    for job_id in waiting:
        assert caller.wait(job_id)["status"] == "completed"
    assert server.logged("there is room again").count(WAITING) == told + 1


def test_a_stop_ends_the_wait_for_room(
    app: Flask,
    desk: Desk,
    separator: FastSeparator,
    upload: Callable[..., TestResponse],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("ezstems.jobs.queue.ASK_EVERY_SECONDS", 60.0)
    separator.hold()
    assert upload().status_code == upload().status_code == 200
    assert separator.started.wait(60)
    monkeypatch.setattr(FolderArchive, "free_bytes", lambda _archive: 0)
    separator.release()
    eventually(lambda: "go on waiting" in caplog.text, "the second waits")
    desk.close()
    for thread in threading.enumerate():
        if thread.name.startswith("separation"):
            thread.join(60)
            assert not thread.is_alive()
    with app.app_context():
        assert db.session.scalars(select(Job.status).order_by(Job.number)).all() == [COMPLETED, QUEUED]


def gone(results: Path) -> Iterator[None]:
    hidden = results.rename(results.with_name("elsewhere"))
    try:
        yield
    finally:
        hidden.rename(results)


def read_only(results: Path) -> Iterator[None]:
    with mounted(results, "--bind", str(results)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(results)], check=True)
        yield


@pytest.mark.parametrize("spoil", [gone, read_only])
def test_results_that_cannot_be_written_give_honest_failures(
    caller: Caller, music: bytes, spoil: Callable[[Path], Iterator[None]]
) -> None:
    server = caller.server
    server.hold()
    running = caller.upload(music)["id"]
    caller.wait(running, "processing")
    with contextmanager(spoil)(server.instance / "results"):
        server.release()
        assert error_of(server, running) in (BROKEN, "The stem 'vocals' could not be written.")
        answer = caller.send(music, stems=2)
        assert (answer.status_code, answer.json()["error"]) == (500, "Server full")
        assert "can't be written" in answer.json()["message"]
        health = requests.get(f"{server.url}/health", timeout=60)
        assert health.status_code == 503 and "can't be written" in health.json()["message"]
    for part in server.parts():  # what could not be deleted either goes when the worker's next life begins
        shutil.rmtree(part)
    assert_works(caller, music)
    assert server.parts() == []


def test_a_limit_of_the_size_of_files_is_a_full_disk(tmp_path: Path, music: bytes) -> None:
    with Server(tmp_path / "instance", SHARES) as server:
        caller = Caller(server, server.key())
        (worker,) = server.workers()
        fits = write_wav(tmp_path / "fits.wav", song(2 * RATE_HZ)).read_bytes()
        subprocess.run(["prlimit", f"--pid={worker}", f"--fsize={len(fits) + 64 * KIB}:"], check=True)
        assert_refused(chunked(caller, music))
        assert left(server) == []
        # Its stems fit, and the ZIP of both doesn't.
        job_id = caller.upload(fits)["id"]
        assert caller.wait(job_id, "completed", "failed")["status"] == "completed"
        job_id = caller.send(fits, stems=5).json()["data"]["id"]
        assert error_of(server, job_id) == NO_ROOM
        assert server.parts() == []
        subprocess.run(["prlimit", f"--pid={worker}", "--fsize=unlimited:"], check=True)
        assert_works(caller, music)
