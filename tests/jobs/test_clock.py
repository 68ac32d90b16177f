"""A clock that jumps, years ahead or back: nothing is lost, nobody is locked out."""

import logging
import os
import time
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from ezstems.audio.peaks import Peaks
from ezstems.database import db
from ezstems.jobs import clock as clocks
from ezstems.jobs.clock import TrustedClock
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.retention import sweep
from ezstems.models import ApiKey, Attempt, FileNames, Instance, Job, Session, utcnow
from tests.conftest import PASSWORD, Account
from tests.support.clocks import Clock, last_seen
from tests.support.multipart import Upload
from tests.support.separators import FastSeparator
from tests.support.sessions import log_in

pytestmark = pytest.mark.usefixtures("no_housekeeping")

HOURS = 72
DOUBTED = "it isn't believed yet, and nothing expires by it"
KEYS = "/api/v1/keys.php"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def archive(instance: Path, app: Flask) -> FolderArchive:
    last_seen(app, utcnow())
    return FolderArchive(instance, "sweeper")


@pytest.fixture
def swept(app: Flask, archive: FolderArchive) -> Callable[..., int]:
    """Return what sweeps as one process does, or, with a clock, as another."""
    ours = TrustedClock()

    def act(clock: TrustedClock = ours, hours: float = HOURS, **options: bool) -> int:
        with app.app_context():
            return sweep(archive, hours, clock, **options)

    return act


@pytest.fixture
def job_id(done: Callable[..., Job]) -> str:
    return done().id


def finished_at(app: Flask, job_id: str) -> datetime:
    with app.app_context():
        return db.session.scalars(select(Job.finished_at).where(Job.id == job_id)).one()


def is_now(moment: datetime | None) -> bool:
    return moment is not None and timedelta(0) <= utcnow() - moment <= timedelta(seconds=30)


def seen_at(app: Flask) -> datetime | None:
    with app.app_context():
        return Instance.trusted_time()


def test_time_that_passes_expires(archive: FolderArchive, job_id: str, clock: Clock, swept: Callable[..., int]) -> None:
    assert swept() == 0
    clock.let_pass(hours=71.9)
    assert swept() == 0 and archive.result(job_id).exists()
    clock.let_pass(hours=0.2)
    assert swept() == 1 and not archive.result(job_id).exists()


def test_a_week_in_which_the_process_ran_is_no_jump(
    job_id: str, clock: Clock, swept: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    assert swept() == 0
    clock.let_pass(days=7)
    assert swept() == 1
    assert DOUBTED not in caplog.text


@pytest.mark.parametrize("at_a_start", [False, True])
@pytest.mark.parametrize("days", [4, 3650])
def test_a_jump_ahead_is_believed_after_a_retention(
    app: Flask, archive: FolderArchive, job_id: str, done: Callable[..., Job], clock: Clock, swept: Callable[..., int],
    caplog: pytest.LogCaptureFixture, at_a_start: bool, days: int,
) -> None:  # fmt: skip
    assert swept() == 0
    ours = {"clock": TrustedClock()} if at_a_start else {}
    clock.jump(days=days)
    assert swept(**ours) == swept(**ours) == 0
    assert archive.result(job_id).exists()
    errors = [each for each in caplog.records if (each.levelno, each.name) == (logging.ERROR, clocks.__name__)]
    assert [DOUBTED in error.getMessage() for error in errors] == [True], "once"
    assert f"{days} days and 0 hours ahead" in errors[0].getMessage() and "prune --now" in errors[0].getMessage()
    later = done().id  # by the new clock
    clock.let_pass(hours=71)
    assert swept(**ours) == 0 and seen_at(app) < utcnow() - timedelta(days=days - 1)
    clock.let_pass(hours=1.5)
    assert swept(**ours) == 2, "each has had its time"
    assert not archive.result(job_id).exists() and not archive.result(later).exists()
    assert is_now(seen_at(app))


def test_a_jump_ahead_that_comes_back_costs_nothing(
    app: Flask, archive: FolderArchive, job_id: str, done: Callable[..., Job], clock: Clock, swept: Callable[..., int]
) -> None:
    swept()
    before = finished_at(app, job_id)
    clock.jump(days=3650)
    swept()
    meanwhile = done().id
    clock.let_pass(hours=10)
    clock.jump(days=-3650)
    assert swept() == 0
    assert finished_at(app, job_id) == before
    assert is_now(finished_at(app, meanwhile)), "not kept for ten years"
    clock.let_pass(hours=62.1)
    assert swept() == 1 and archive.result(meanwhile).exists()
    clock.let_pass(hours=10)
    assert swept() == 1


def test_a_clock_that_goes_back_keeps_all_for_a_retention(
    app: Flask, job_id: str, clock: Clock, swept: Callable[..., int]
) -> None:
    swept()
    clock.set(datetime(1970, 1, 1, 0, 1))
    assert swept() == 0
    assert is_now(finished_at(app, job_id)) and is_now(seen_at(app))
    clock.set(datetime(2027, 1, 1))
    assert swept() == 0, "years ahead of 1970"
    clock.let_pass(hours=71)
    assert swept() == 0
    clock.let_pass(hours=2)
    assert swept() == 1


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_what_ends_while_the_clock_is_back_for_a_moment_is_kept(
    archive: FolderArchive, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator, clock: Clock,
    swept: Callable[..., int], status: str,
) -> None:  # fmt: skip
    swept()
    separator.error = ValueError() if status == "failed" else None
    clock.jump(days=-20_000)
    job = finished(upload().json["data"]["id"])
    assert job.status == status
    clock.jump(days=20_000)
    assert swept() == 0
    clock.let_pass(hours=71)
    assert swept() == 0
    clock.let_pass(hours=2)
    assert swept() == 1


def test_a_clock_that_goes_back_is_noted_before_the_rows_follow_it(
    app: Flask, archive: FolderArchive, job_id: str, clock: Clock, swept: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swept()
    before = finished_at(app, job_id)
    clock.set(datetime(1970, 1, 1, 0, 1))

    def full(*_arguments: object) -> None:
        raise OperationalError("UPDATE instances", {}, Exception("database or disk is full"))

    for model, name in ((Instance, "note_trusted_time"), (Job, "redate")):
        with monkeypatch.context() as spoilt:
            spoilt.setattr(model, name, full)
            assert swept(TrustedClock()) == 0
        assert finished_at(app, job_id) == before
    assert is_now(seen_at(app))
    assert swept(TrustedClock()) == 0 and is_now(finished_at(app, job_id))
    clock.set(before + timedelta(minutes=5))
    assert swept(TrustedClock()) == 0 and archive.result(job_id).exists()


def test_a_clock_that_jumps_twice(
    archive: FolderArchive, job_id: str, done: Callable[..., Job], clock: Clock, swept: Callable[..., int]
) -> None:
    swept()
    clock.jump(days=3650)
    swept()
    later = done().id
    clock.let_pass(hours=50)
    clock.jump(days=3650)
    assert swept() == 0
    clock.let_pass(hours=22.5)
    assert swept() == 1 and not archive.result(job_id).exists() and archive.result(later).exists()
    clock.let_pass(hours=48)
    assert swept() == 0
    clock.let_pass(hours=2)
    assert swept() == 1


def test_starts_more_often_than_a_retention_keep_nothing_for_ever(
    archive: FolderArchive, job_id: str, done: Callable[..., Job], clock: Clock, swept: Callable[..., int]
) -> None:
    swept()
    clock.jump(days=3650)
    counts = []
    for day in range(12):
        if day == 1:
            later = done().id
        process = TrustedClock()
        counts.append(swept(process))
        for _ in range(2):
            clock.let_pass(hours=12)
            counts[-1] += swept(process)
    assert sum(counts) == 2 and sum(counts[:2]) == 0
    assert not archive.result(job_id).exists() and not archive.result(later).exists()


def test_processes_agree(
    job_id: str, done: Callable[..., Job], clock: Clock, swept: Callable[..., int]
) -> None:
    first, second = TrustedClock(), TrustedClock()
    swept(first), swept(second)
    clock.jump(days=30)
    for hours in (5, 5, 5):
        clock.let_pass(hours=hours)
        assert swept(first) == swept(second) == 0
        assert first.moment is not None and second.moment is not None
        assert abs(first.moment.trusted - second.moment.trusted) <= timedelta(minutes=1)
    assert swept(TrustedClock(), believe=True) == 1, "what the operator says"
    clock.let_pass(minutes=10)
    assert swept(first) == swept(second) == 0
    assert not first.moment.is_doubted and not second.moment.is_doubted, "is heard by all"
    # One that slept through a moment in which the clock was back must not believe that it jumped ahead.
    done()
    clock.jump(days=-30)
    swept(first)
    clock.jump(days=30)
    assert not swept(second) and second.moment.is_doubted


def test_where_nothing_is_kept_nothing_is_doubted(
    app: Flask, clock: Clock, swept: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    swept()
    clock.jump(days=3650)
    assert swept() == 0
    assert DOUBTED not in caplog.text and "is believed" in caplog.text
    assert is_now(seen_at(app))


def test_a_database_that_saw_no_clock_yet_knows_its_newest_upload(
    app: Flask, archive: FolderArchive, job_id: str, clock: Clock, swept: Callable[..., int]
) -> None:
    last_seen(app, None)
    clock.jump(days=4)
    assert swept(TrustedClock()) == 0
    assert archive.result(job_id).exists()


def test_what_is_lost_goes_by_the_same_time(
    instance: Path, archive: FolderArchive, clock: Clock, swept: Callable[..., int]
) -> None:
    orphan = instance / "uploads" / "1_2_00000.wav"
    orphan.write_bytes(b"x")
    os.utime(orphan, (1, 1))
    swept()
    aside = instance / "lost" / "uploads" / orphan.name
    assert aside.exists() and not orphan.exists()
    clock.jump(days=3650)
    swept()
    assert aside.exists()
    clock.let_pass(hours=71.5)
    swept()
    assert aside.exists()
    clock.let_pass(hours=1)
    swept()
    assert not aside.exists()


def test_the_command_says_what_it_did_not_believe(
    app: Flask, job_id: str, archive: FolderArchive, clock: Clock, run: Callable[..., Result]
) -> None:
    clock.jump(days=4)
    told = run("jobs", "prune").output.splitlines()
    assert told[0] == "0 jobs expired" and len(told) == 2
    assert DOUBTED in told[1] and "4 days and 0 hours ahead" in told[1]
    assert archive.result(job_id).exists()
    assert run("jobs", "prune", "--now").output == "1 jobs expired\n"
    assert not archive.result(job_id).exists()
    assert run("jobs", "prune").output == "0 jobs expired\n"


@pytest.mark.parametrize("jump", [timedelta(hours=10), timedelta(days=730), timedelta(days=-9999)])
def test_a_key_is_never_locked_for_longer_than_its_window(
    app: Flask, client: FlaskClient, make_account: Callable[..., Account], clock: Clock, jump: timedelta
) -> None:
    account, window = make_account(rate_limit=1), app.config["EZSTEMS_RATE_WINDOW_SECONDS"]
    clock.jump(seconds=jump.total_seconds())
    assert client.get(KEYS, headers=account.headers).status_code == 200
    clock.jump(seconds=-jump.total_seconds())
    assert client.get(KEYS, headers=account.headers).status_code == 200, "a window of the future is over"
    refused = client.get(KEYS, headers=account.headers)
    assert refused.status_code == 403
    assert 0 < int(refused.headers["Retry-After"]) <= window
    clock.jump(seconds=-1)  # two processes look at it in either order
    refused = client.get(KEYS, headers=account.headers)
    assert refused.status_code == 403 and int(refused.headers["Retry-After"]) <= window
    with app.app_context():
        key = db.session.scalars(select(ApiKey)).one()
        assert key.calls_in_window(window) == 1
        clock.jump(hours=-1)
        assert key.calls_in_window(window) == 0


@pytest.mark.parametrize("days", [1, 730])
def test_attempts_of_the_future_are_over(app: Flask, clock: Clock, days: int) -> None:
    with app.app_context():
        assert Attempt.wait_seconds("home", 3, 1, 30 * 86_400) == 0
        clock.jump(days=days)
        assert Attempt.wait_seconds("login", 7, 1, 900) == 0
        assert 0 < Attempt.wait_seconds("login", 7, 1, 900) <= 900
        clock.jump(days=-days)
        assert not Attempt.is_counted("login", 7, 900)
        assert Attempt.wait_seconds("login", 8, 1, 900) == 0  # forgets what is over
        assert Attempt.is_counted("home", 3, 30 * 86_400) or days > 30, "whose windows are longer"
        assert Attempt.wait_seconds("login", 7, 1, 900) == 0
        assert 0 < Attempt.wait_seconds("login", 7, 1, 900) <= 900


def inside(client: FlaskClient) -> bool:
    return client.get("/account").status_code == 200


def test_a_jump_ahead_logs_nobody_out(app: Flask, account: Account, clock: Clock, archive: FolderArchive) -> None:
    mine, other = app.test_client(), app.test_client()
    assert log_in(mine, account.email).status_code == 302
    clock.jump(days=3650)
    assert inside(mine)
    assert log_in(other, account.email).status_code == 302, "which forgets what is over"
    assert inside(mine)
    clock.jump(days=-3650)
    assert inside(mine) and inside(other)


def test_a_session_of_the_future_ends_some_time(
    app: Flask, account: Account, clock: Clock, archive: FolderArchive
) -> None:
    clock.jump(days=3650)
    client, idle = app.test_client(), app.test_client()
    for each in (client, idle):
        assert log_in(each, account.email).status_code == 302
    clock.jump(days=-3650)
    assert inside(client)
    with app.app_context():
        assert is_now(min(db.session.scalars(select(Session.seen_at))))
    log_in(app.test_client(), account.email)
    clock.let_pass(days=31)
    last_seen(app, utcnow())
    assert not inside(client) and not inside(idle)


def test_a_clock_that_was_in_1970_until_the_network_told_it(
    app: Flask, account: Account, clock: Clock, swept: Callable[..., int], job_id: str
) -> None:
    swept()
    client = app.test_client()
    log_in(client, account.email)
    clock.set(datetime(1970, 1, 1, 0, 0, 5))
    swept()
    assert inside(client)
    log_in(app.test_client(), account.email)
    clock.set(datetime(2027, 1, 1))
    swept()
    assert inside(client)


@pytest.mark.parametrize("year", [1970, 2099, 2200, 9000])
def test_uploads_and_results_of_any_year(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, finished: Callable[[str], Job], clock: Clock,
    monkeypatch: pytest.MonkeyPatch, year: int,
) -> None:  # fmt: skip
    moment = datetime(year, 1, 1, 0, 0, 7)
    clock.set(moment)
    seconds = (moment - datetime(1970, 1, 1)).total_seconds()
    monkeypatch.setattr("ezstems.jobs.admission.time.time", lambda: seconds)
    from_file = zipfile.ZipInfo.from_file

    def dated(path: Path, *arguments: object, **options: bool) -> zipfile.ZipInfo:
        os.utime(path, (seconds, seconds))
        return from_file(path, *arguments, **options)

    monkeypatch.setattr(zipfile.ZipInfo, "from_file", dated)
    job = finished(upload().json["data"]["id"])
    assert (job.status, job.id) == ("completed", f"{int(seconds)}_2")
    status = client.get(f"/api/v1/status.php?id={job.id}", headers=account.headers).json["data"]
    assert status["created_at"].startswith(f"{year}-01-01 00:00:")
    answer = client.get(f"/api/v1/download.php?id={job.id}", headers=account.headers)
    assert answer.status_code == 200
    with zipfile.ZipFile(Path(app.instance_path) / "results" / f"{job.id}.zip") as packed:
        assert {entry.date_time[0] for entry in packed.infolist()} == {min(2107, max(1980, year))}
    assert log_in(app.test_client(), account.email, PASSWORD).status_code == 302


def test_an_id_has_no_sign(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezstems.jobs.admission.time.time", lambda: -86_400.0)
    assert [upload().json["data"]["id"] for _ in range(2)] == ["0_2", "1_2"]


def test_a_stem_of_before_1980(tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path, "me")
    with archive.workspace(FileNames("1_2", "1_2_0.wav", None, "me")) as folder:
        (folder / "vocals.wav").write_bytes(b"v")
        os.utime(folder / "vocals.wav", (5, 5))
        archive.pack(FileNames("1_2", "1_2_0.wav", None, "me"), [folder / "vocals.wav"], "", Peaks(1, 64, {}))
    with zipfile.ZipFile(archive.result("1_2")) as packed:
        assert packed.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_a_cookie_is_as_good_as_its_session_however_old_it_is(
    app: Flask, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, real = app.test_client(), time.time
    log_in(client, account.email)
    for days in (-400, 40):
        monkeypatch.setattr(time, "time", lambda days=days: real() + days * 86_400)
        assert inside(client)
    monkeypatch.undo()
    with app.app_context():
        db.session.execute(update(Session).values(seen_at=utcnow() - timedelta(days=31)))
        db.session.commit()
    assert not inside(client)
