"""Who is dead is found out, and what they left is taken over, once and in order."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from ezstems.database import db
from ezstems.jobs import recovery
from ezstems.jobs.archive import Archive
from ezstems.jobs.recovery import Life, adopt
from ezstems.models import COMPLETED, CRASHED, FAILED, PROCESSING, QUEUED, Job
from tests.conftest import Account


@pytest.fixture
def make_jobs(app: Flask, account: Account) -> Callable[..., list[int]]:
    """Return a maker of one job a status, all of one owner."""

    def make(owner: str | None, *statuses: str, crashes: int = 0) -> list[int]:
        numbers = []
        with app.app_context():
            for status in statuses:
                second = Job.free_second(2, 1_700_000_000)
                job = Job(
                    id=f"{second}_2",
                    second=second,
                    stems=2,
                    user_id=account.user_id,
                    cutoff="11kHz",
                    output="wav",
                    original_name="song.wav",
                    filename=f"{second}_2_00000.wav",
                    size_bytes=6,
                    owner=owner,
                    status=status,
                    crashes=crashes,
                    progress=50,
                )
                db.session.add(job)
                db.session.commit()
                numbers.append(job.number)
        return numbers

    return make


@pytest.fixture
def mine(instance: Path, app: Flask) -> Life:
    life = Life(instance, "me")
    life.begin()
    return life


def adopted(app: Flask, instance: Path, life: Life, owner: str = "me") -> list[int]:
    """Return the jobs that newly wait for an owner."""
    with app.app_context():
        before = set(Job.waiting(owner))
        adopt(life, owner, Archive(instance, owner))
        return [number for number in Job.waiting(owner) if number not in before]


def rows(app: Flask) -> list[tuple[str, str | None, int, str | None]]:
    with app.app_context():
        jobs = db.session.scalars(select(Job).order_by(Job.number))
        return [(job.status, job.owner, job.crashes, job.error) for job in jobs]


def test_a_dead_workers_jobs_are_adopted_in_order(
    app: Flask, instance: Path, mine: Life, make_jobs: Callable[..., list[int]]
) -> None:
    numbers = make_jobs("dead", PROCESSING, QUEUED, COMPLETED, FAILED, QUEUED)
    assert adopted(app, instance, mine) == [numbers[0], numbers[1], numbers[4]]
    assert rows(app) == [
        (QUEUED, "me", 1, None),
        (QUEUED, "me", 0, None),
        (COMPLETED, "dead", 0, None),
        (FAILED, "dead", 0, None),
        (QUEUED, "me", 0, None),
    ]
    assert adopted(app, instance, mine) == []


def test_the_second_crash_in_a_row_fails_the_job_alone(
    app: Flask, instance: Path, mine: Life, make_jobs: Callable[..., list[int]]
) -> None:
    make_jobs("dead", PROCESSING, crashes=1)
    (waiting,) = make_jobs("dead", QUEUED, crashes=1)
    assert adopted(app, instance, mine) == [waiting]
    assert rows(app) == [(FAILED, "me", 2, CRASHED), (QUEUED, "me", 1, None)]
    assert "crashed the separator" in CRASHED


def test_what_the_whole_machine_took_down_is_no_crash(
    app: Flask,
    instance: Path,
    mine: Life,
    make_jobs: Callable[..., list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = Life(instance, "dead")
    dead.begin()
    (number,) = make_jobs("dead", PROCESSING, crashes=1)
    dead.end()
    boot = tmp_path / "boot_id"
    boot.write_text("the machine was started again")
    monkeypatch.setattr(recovery, "BOOT", boot)
    assert adopted(app, instance, mine) == [number]
    assert rows(app) == [(QUEUED, "me", 1, None)]
    # The same on a machine that stayed up is the second crash.
    other = Life(instance, "me too")
    other.begin()
    mine.end()
    with app.app_context():
        assert Job.claim(number, "me")
    monkeypatch.undo()
    boot_of_mine = instance / "workers" / "me.lock"
    assert boot_of_mine.read_bytes() == recovery.BOOT.read_bytes()
    assert adopted(app, instance, other, "me too") == []
    assert rows(app) == [(FAILED, "me too", 2, CRASHED)]


def test_what_a_dead_worker_finished_but_did_not_clear_away_goes(
    app: Flask, instance: Path, mine: Life, make_jobs: Callable[..., list[int]]
) -> None:
    make_jobs("dead", COMPLETED, PROCESSING, FAILED)
    ids = [f"{1_700_000_000 + number}_2" for number in range(3)]
    for job_id in ids:
        for name in (f"uploads/{job_id}_00000.wav", f"results/{job_id}.zip", f"results/{job_id}.peaks"):
            (instance / name).write_bytes(b"x")
    adopted(app, instance, mine)
    names = {path.name for folder in ("uploads", "results") for path in (instance / folder).iterdir()}
    # The source of what was completed. No result: by an older database, put back, what was completed runs still.
    gone = {f"{ids[0]}_00000.wav"}
    kept = {f"{job_id}{end}" for job_id in ids for end in ("_00000.wav", ".zip", ".peaks")} - gone
    assert names == kept


def test_a_live_workers_jobs_are_left_alone(
    app: Flask, instance: Path, mine: Life, make_jobs: Callable[..., list[int]]
) -> None:
    other = Life(instance, "other")
    other.begin()
    (number,) = make_jobs("other", PROCESSING)
    assert adopted(app, instance, mine) == []
    other.end()
    assert adopted(app, instance, mine) == [number]
    assert sorted(path.name for path in (instance / "workers").iterdir()) == ["me.lock"]


def test_what_an_operator_set_back_is_taken_once(
    app: Flask, instance: Path, mine: Life, make_jobs: Callable[..., list[int]]
) -> None:
    (number,) = make_jobs("dead", FAILED)
    with app.app_context():
        assert Job.retry(number)
        assert not Job.retry(number)
    other = Life(instance, "other")
    other.begin()
    assert adopted(app, instance, mine) == [number]
    assert adopted(app, instance, other, "other") == []


def test_a_killed_process_is_dead_and_its_parts_go(
    app: Flask, instance: Path, mine: Life, make_jobs: Callable[..., list[int]]
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ezstems.jobs.recovery import Life;"
        "Life(Path(sys.argv[1]), 'child').begin(); print('alive', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(instance)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"alive\n"
        (number,) = make_jobs("child", QUEUED)
        part = instance / "uploads" / "child.abc.part"
        part.write_bytes(b"half")
        assert adopted(app, instance, mine) == []
        assert part.exists()
    finally:
        child.kill()
        child.wait()
    assert adopted(app, instance, mine) == [number]
    assert not part.exists()


def test_another_users_lock_is_passed_over(
    app: Flask,
    instance: Path,
    mine: Life,
    make_jobs: Callable[..., list[int]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (number,) = make_jobs("dead", QUEUED)
    theirs, opening = instance / "workers" / "backup-of-root.lock", os.open
    theirs.touch()

    def refusing(path: str | Path, *arguments: int) -> int:
        if path == theirs:
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, *arguments)

    monkeypatch.setattr(recovery.os, "open", refusing)
    with caplog.at_level(logging.WARNING):
        assert adopted(app, instance, mine) == [number]
        assert adopted(app, instance, mine) == []
    assert theirs.exists()
    assert caplog.text.count("backup-of-root.lock belongs to another user") == 1, "not every two seconds"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_what_root_locks_the_servers_user_may_unlock(instance: Path, app: Flask) -> None:
    folder = instance / "workers"
    folder.mkdir(exist_ok=True)
    os.chown(folder, 12345, 23456)
    Life(instance, "backup").begin()
    found = (folder / "backup.lock").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12345, 23456, 0o600)


def test_a_start_outlasts_files_that_cannot_be_read(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(recovery, "adopt", refusing)
    app.extensions["ezstems"].start()
    assert "could not be adopted yet" in caplog.text


def test_a_lock_is_never_visible_and_free(instance: Path, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def spying(path: Path, target: Path) -> Path:
        with app.app_context():
            held.append(list(Life(instance, "me").dead()))
        return rename(path, target)

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", spying)
    Life(instance, "other").begin()
    assert held == [[]]
    assert [path.name for path in (instance / "workers").iterdir()] == ["other.lock"]


def test_a_worker_adopts_while_it_runs(
    app: Flask, make_app: Callable[..., Flask], instance: Path, make_jobs: Callable[..., list[int]]
) -> None:
    worker = app.extensions["ezstems"]
    worker.start()
    make_jobs("dead", QUEUED)
    (instance / "uploads" / "1700000000_2_00000.wav").write_bytes(b"a song")
    deadline = time.monotonic() + 10
    while (found := rows(app)) != [(COMPLETED, worker.id, 0, None)]:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
