"""Kills at random moments under uploads, separations, downloads and deletions: nothing is lost, doubled, stuck or left.

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

from tests.callers import Caller
from tests.servers import Server
from tests.soak import songs
from tests.soak.box import Box, Tally
from tests.soak.kills import KILLED, children


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_is_killed_every_accepted_job_ends_rightly(tmp_path: Path, workers: int) -> None:
    tally = Tally()
    with Box(tmp_path / "box", songs.make(tmp_path / "songs"), uploads=5, workers=workers, separations=workers) as box:
        for kind in KILLED:
            box.play(kind, f"{workers}-{kind.replace(' ', '-')}", tally)
    assert tally.faults == []
    assert tally.counts["rounds"] == 3 and tally.counts["completed"] >= 3


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


def test_what_only_ran_beside_a_deadly_job_does_not_fail_with_it(tmp_path: Path, song: bytes) -> None:
    with Server(tmp_path / "instance", separations=3, FAST_KILL="5") as server:
        caller = Caller(server, server.key())
        server.hold()
        beside = [caller.upload(song)["id"] for _ in range(2)]
        until(lambda: processing(server) == beside, server)
        with suppress(requests.RequestException):  # it may kill the process before its answer is out
            caller.send(song, stems=5)
        until(lambda: processing(server) == beside[:1], server)
        ids = [row["id"] for row in server.rows("SELECT id FROM jobs ORDER BY number")]
        later = caller.upload(song)["id"]
        assert ids[:2] == beside and told(server, "crashes", *ids) == [1, 1, 1]
        assert told(server, "status", *ids, later) == ["processing", "queued", "queued", "queued"]
        server.release()
        until(lambda: told(server, "status", later) == ["completed"], server)
        assert told(server, "status", *ids) == ["completed", "completed", "failed"]
        assert told(server, "crashes", *ids, later) == [1, 1, 2, 0]


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
