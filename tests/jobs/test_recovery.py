"""Who is dead is found out, and what they left is taken over, once and in order."""

import logging
import os
import shutil
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
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.recovery import WorkerLock, adopt
from ezstems.models import COMPLETED, FAILED, PROCESSING, QUEUED, Job, free_second, own_queue
from tests.conftest import Account


@pytest.fixture
def make_jobs(app: Flask, account: Account) -> Callable[..., list[int]]:
    """Return a maker of one job a status, all of one owner."""

    def make(owner: str | None, *statuses: str, crashes: int = 0) -> list[int]:
        numbers = []
        with app.app_context():
            for status in statuses:
                second = free_second(2, 1_700_000_000)
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
def mine(instance: Path, app: Flask) -> WorkerLock:
    lock = WorkerLock(instance, "me")
    lock.acquire()
    return lock


@pytest.fixture
def dead(instance: Path, app: Flask) -> None:
    """Leave the lock of a worker that has died."""
    lock = WorkerLock(instance, "dead")
    lock.acquire()
    lock.release()


def adopted(app: Flask, instance: Path, lock: WorkerLock, owner: str = "me") -> list[int]:
    """Return the jobs that newly wait for an owner."""
    with app.app_context():
        before = set(own_queue.waiting(owner))
        adopt(lock, FolderArchive(instance, owner))
        return [number for number in own_queue.waiting(owner) if number not in before]


def rows(app: Flask) -> list[tuple[str, str | None, int, str | None]]:
    with app.app_context():
        jobs = db.session.scalars(select(Job).order_by(Job.number))
        return [(job.status, job.owner, job.crashes, job.error) for job in jobs]


def test_a_dead_workers_jobs_are_adopted_in_order(
    app: Flask, instance: Path, mine: WorkerLock, make_jobs: Callable[..., list[int]], dead: None
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


def test_however_often_its_process_died_no_job_fails_by_that(
    app: Flask, instance: Path, mine: WorkerLock, make_jobs: Callable[..., list[int]], dead: None
) -> None:
    numbers = make_jobs("dead", PROCESSING, crashes=20) + make_jobs("dead", QUEUED, crashes=1)
    assert adopted(app, instance, mine) == numbers
    assert rows(app) == [(QUEUED, "me", 21, None), (QUEUED, "me", 1, None)]


def rounds_until_adoption(app: Flask, instance: Path, lock: WorkerLock) -> int:
    """Return how many rounds a worker took to adopt what it was to adopt; 0 for never."""
    for number in range(1, 3 * recovery.DOUBTFUL_ROUNDS):
        if adopted(app, instance, lock):
            return number
    return 0


@pytest.mark.parametrize("left", ["no file", "a copy"])
def test_a_worker_whose_own_lock_is_not_there_is_dead_only_after_several_rounds(
    app: Flask, instance: Path, mine: WorkerLock, make_jobs: Callable[..., list[int]], left: str
) -> None:
    make_jobs("dead", PROCESSING)
    path = instance / "workers" / "dead.lock"
    if left == "a copy":
        path.write_bytes((instance / "workers" / "me.lock").read_bytes())
    assert rounds_until_adoption(app, instance, mine) == recovery.DOUBTFUL_ROUNDS + 1
    assert rows(app) == [(QUEUED, "me", 1, None)]
    assert not path.exists()


def clear(instance: Path) -> None:
    for path in (instance / "workers").iterdir():
        path.unlink()


def copy_over(instance: Path) -> None:
    """Put copies in the locks' places, as an unpacked backup would."""
    for path in (instance / "workers").glob("*.lock"):
        content = path.read_bytes()
        path.rename(path.with_suffix(".old"))
        path.write_bytes(content)


@pytest.mark.parametrize(
    "meddle", [clear, lambda instance: shutil.rmtree(instance / "workers"), copy_over], ids=["rm", "rm -r", "copies"]
)
def test_a_live_worker_whose_lock_is_taken_away_makes_it_anew_and_keeps_its_jobs(
    app: Flask,
    instance: Path,
    mine: WorkerLock,
    make_jobs: Callable[..., list[int]],
    meddle: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = WorkerLock(instance, "other")
    other.acquire()
    make_jobs("other", PROCESSING, QUEUED)
    meddle(instance)
    for lock in (mine, other):
        assert adopted(app, instance, mine) == []  # whoever comes round first
        lock.renew()
    told = caplog.text.count("is made anew")
    assert told == 2
    for _ in range(2 * recovery.DOUBTFUL_ROUNDS):
        for lock, owner in ((mine, "me"), (other, "other")):
            lock.renew()
            assert adopted(app, instance, lock, owner) == []
    assert rows(app) == [(PROCESSING, "other", 0, None), (QUEUED, "other", 0, None)]
    assert caplog.text.count("is made anew") == told, "once"
    other.release()
    assert len(adopted(app, instance, mine)) == 2, "its new lock tells its death at once"


def test_who_can_make_no_lock_takes_nobody_for_dead_for_having_none(
    app: Flask,
    instance: Path,
    mine: WorkerLock,
    make_jobs: Callable[..., list[int]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_arguments: object, **_options: object) -> int:
        raise OSError(28, "No space left on device")

    make_jobs("other", PROCESSING)
    clear(instance)
    with monkeypatch.context() as scarce:
        scarce.setattr(Path, "touch", full)
        opening = os.open
        creating = lambda path, flags, *mode: full() if flags & os.O_CREAT else opening(path, flags, *mode)  # noqa: E731
        scarce.setattr(recovery.os, "open", creating)
        for _ in range(2 * recovery.DOUBTFUL_ROUNDS):
            mine.renew()
            assert adopted(app, instance, mine) == []
    assert caplog.text.count("can't be made anew") == 1, "not every round"
    mine.renew()
    assert "is made anew" in caplog.text and (instance / "workers" / "me.lock").exists()
    assert rounds_until_adoption(app, instance, mine) == recovery.DOUBTFUL_ROUNDS + 1


def test_what_a_dead_worker_finished_but_did_not_clear_away_goes(
    app: Flask, instance: Path, mine: WorkerLock, make_jobs: Callable[..., list[int]], dead: None
) -> None:
    make_jobs("dead", COMPLETED, PROCESSING, FAILED, COMPLETED)
    ids = [f"{1_700_000_000 + number}_2" for number in range(4)]
    with app.app_context():
        Job.update_if(4, keeps_upload=True)
    for job_id in ids:
        for name in (f"uploads/{job_id}_00000.wav", f"results/{job_id}.zip", f"results/{job_id}.peaks"):
            (instance / name).write_bytes(b"x")
    adopted(app, instance, mine)
    names = {path.name for folder in ("uploads", "results") for path in (instance / folder).iterdir()}
    # The source of what was completed, unless it is kept. No result: by an older database, put back, what was completed
    # runs still.
    gone = {f"{ids[0]}_00000.wav"}
    kept = {f"{job_id}{end}" for job_id in ids for end in ("_00000.wav", ".zip", ".peaks")} - gone
    assert names == kept


def test_a_live_workers_jobs_are_left_alone(
    app: Flask, instance: Path, mine: WorkerLock, make_jobs: Callable[..., list[int]]
) -> None:
    other = WorkerLock(instance, "other")
    other.acquire()
    (number,) = make_jobs("other", PROCESSING)
    assert adopted(app, instance, mine) == []
    other.release()
    assert adopted(app, instance, mine) == [number]
    assert sorted(path.name for path in (instance / "workers").iterdir()) == ["me.lock"]


def test_what_an_operator_set_back_is_taken_once(
    app: Flask, instance: Path, mine: WorkerLock, make_jobs: Callable[..., list[int]]
) -> None:
    (number,) = make_jobs("dead", FAILED)
    with app.app_context():
        assert Job.retry(number)
        assert not Job.retry(number)
    other = WorkerLock(instance, "other")
    other.acquire()
    assert adopted(app, instance, mine) == [number]
    assert adopted(app, instance, other, "other") == []


def test_a_killed_process_is_dead_and_its_parts_go(
    app: Flask, instance: Path, mine: WorkerLock, make_jobs: Callable[..., list[int]]
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ezstems.jobs.recovery import WorkerLock;"
        "WorkerLock(Path(sys.argv[1]), 'child').acquire(); print('alive', flush=True); time.sleep(60)"
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
    mine: WorkerLock,
    make_jobs: Callable[..., list[int]],
    dead: None,
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
    WorkerLock(instance, "backup").acquire()
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
            held.append(list(WorkerLock(instance, "me").dead_owners()))
        return rename(path, target)

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", spying)
    WorkerLock(instance, "other").acquire()
    assert held == [[]]
    assert [path.name for path in (instance / "workers").iterdir()] == ["other.lock"]


def test_a_worker_adopts_while_it_runs(
    app: Flask, make_app: Callable[..., Flask], instance: Path, make_jobs: Callable[..., list[int]]
) -> None:
    worker = app.extensions["ezstems"]
    dead = WorkerLock(instance, "dead")
    dead.acquire()
    worker.start()
    make_jobs("dead", QUEUED)
    (instance / "uploads" / "1700000000_2_00000.wav").write_bytes(b"a song")
    dead.release()
    deadline = time.monotonic() + 60
    while (found := rows(app)) != [(COMPLETED, worker.id, 0, None)]:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
