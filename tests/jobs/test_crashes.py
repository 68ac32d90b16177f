"""Kills and slips at random moments under uploads, separations, downloads and deletions: nothing is lost or left.

`make soak` plays many more of these rounds.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.soak import songs
from tests.soak.box import Box, Tally
from tests.soak.kills import KILLED, children
from tests.support.callers import Caller
from tests.support.servers import Server


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_is_killed_every_accepted_job_ends_rightly(tmp_path: Path, workers: int) -> None:
    tally = Tally()
    with Box(tmp_path / "box", songs.make(tmp_path / "songs"), uploads=5, workers=workers, separations=workers) as box:
        for kind in KILLED:
            box.play(kind, f"{workers}-{kind.replace(' ', '-')}", tally)
    assert tally.faults == []
    assert tally.counts["rounds"] == 3 and tally.counts["completed"] >= 3


def test_whatever_its_operator_does_every_accepted_job_ends_rightly(tmp_path: Path) -> None:
    tally, slips = Tally(), ("a wrong database", "an older database", "a restore", "a clock")
    with Box(tmp_path / "box", songs.make(tmp_path / "songs"), uploads=5, workers=2) as box:
        for slip in slips:
            box.play(slip, slip.replace(" ", "-"), tally)
    assert tally.faults == []
    assert tally.counts["rounds"] == len(slips) and tally.counts["completed"] >= len(slips)


def until(condition: Callable[[], object], server: Server) -> None:
    """Wait for a condition, which may fail to be told while a server dies."""
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, server.log.read_text()[-4000:]
        time.sleep(0.05)


def told(server: Server, column: str, *ids: str) -> list[object]:
    rows = {row["id"]: row[column] for row in server.rows("SELECT * FROM jobs")}
    return [rows[job_id] for job_id in ids]


def processing(server: Server) -> list[str]:
    return [row["id"] for row in server.rows("SELECT id FROM jobs WHERE status = 'processing' ORDER BY number")]


def test_a_job_that_kills_its_process_fails_alone_after_one_more_try(tmp_path: Path, song: bytes) -> None:
    with Server(tmp_path / "instance", separations=3, FAST_KILL="5") as server:
        caller = Caller(server, server.key())
        server.hold()
        beside = [caller.upload(song)["id"] for _ in range(2)]
        until(lambda: processing(server) == beside, server)
        with suppress(requests.RequestException):  # it may kill the process before its answer is out
            caller.send(song, stems=5)
        until(lambda: len(server.rows("SELECT 1 FROM jobs WHERE crashes = 1")) == 3, server)
        later = caller.upload(song)["id"]
        server.release()
        until(lambda: told(server, "status", later) == ["completed"], server)
        until(lambda: not server.rows("SELECT 1 FROM jobs WHERE status IN ('queued', 'processing')"), server)
        ids = [row["id"] for row in server.rows("SELECT id FROM jobs ORDER BY number")]
        assert ids[:2] == beside and ids[3:] == [later]
        assert told(server, "status", *ids) == ["completed", "completed", "failed", "completed"]
        assert told(server, "crashes", *ids) == [1, 1, 1, 0]
        assert server.log.read_text().count("Booting worker") == 2, "the second death was the job's own process's"
        assert "crashed the separator" in str(told(server, "error", ids[2]))
        assert not children(server.instance) and not solos(server)


def test_five_kills_of_the_whole_server_in_a_row_fail_nobody(tmp_path: Path, song: bytes) -> None:
    server = Server(tmp_path / "instance")
    caller = Caller(server, server.key())
    server.hold()
    with server:
        job_id = caller.upload(song)["id"]
        for kills in range(5):
            until(lambda: processing(server) == [job_id] and (kills == 0 or solos(server)), server)  # noqa: B023
            alone = solos(server)
            server.kill()
            until(lambda: not [pid for pid in alone if is_alive(pid)], server)  # noqa: B023
            assert len(alone) == min(kills, 1)
            server.start()
            assert told(server, "crashes", job_id) == [kills + 1]
        server.release()
        assert caller.wait(job_id)["status"] == "completed"
        assert server.parts() == []


def suspect(server: Server, caller: Caller, song: bytes) -> str:
    """Kill the server while it holds a job; return the job when the next server tries it in a process of its own."""
    server.hold()
    job_id = str(caller.upload(song)["id"])
    until(lambda: processing(server) == [job_id], server)
    server.kill()
    server.start()
    until(lambda: solos(server), server)
    return job_id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_that_reaches_every_process_is_no_crash(tmp_path: Path, song: bytes, number: signal.Signals) -> None:
    server = Server(tmp_path / "instance")
    caller = Caller(server, server.key())
    with server:
        job_id = suspect(server, caller, song)  # maybe before it could ignore anything
        (pid,) = solos(server)
        os.kill(pid, number)
        assert server.stop() < 20
        until(lambda: not is_alive(pid), server)
        assert (told(server, "status", job_id), told(server, "crashes", job_id)) == (["queued"], [0])
        server.release()
        server.start()
        caller.wait(job_id)


def test_a_suspect_that_is_deleted_is_ended_at_once(tmp_path: Path, song: bytes) -> None:
    server = Server(tmp_path / "instance")
    caller = Caller(server, server.key())
    with server:
        job_id = suspect(server, caller, song)
        server.command("jobs", "delete", job_id)
        until(lambda: not solos(server), server)
        server.logged(f"job {job_id}: stopped, deleted while it ran")
        assert server.parts() == [] and list((server.instance / "uploads").iterdir()) == []


def solos(server: Server) -> list[int]:
    """Return the processes that separate a suspect for a server."""
    workers = server.workers() if server.running else []
    found = []
    for worker in workers:
        for task in Path(f"/proc/{worker}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(pid) for pid in task.read_text().split()]
    return [pid for pid in found if b"ezstems.audio.isolated" in command(pid)]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    return b"ezstems.audio.isolated" in command(pid)


def test_an_ffmpeg_does_not_outlive_a_killed_worker(tmp_path: Path) -> None:
    """Shown by the rounds above as well; here the child is known to be alive at the kill."""
    made = songs.make(tmp_path / "songs")
    with Server(tmp_path / "instance", "tests.soak.app:app") as server:
        caller = Caller(server, server.key())
        caller.send(made[2].content, "long.m4a", stems=5, output="mp3")
        until(lambda: len(children(server.instance)) >= 5, server)
        alive = children(server.instance)
        os.kill(server.workers()[0], signal.SIGKILL)
        until(lambda: not set(alive) & set(children(server.instance)), server)
