"""One job from its claim to its finish, run synchronously: each outcome leaves a truthful row and the right files."""

import errno
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from ezstems.database import db
from ezstems.errors import DamagedFile, DecodingFailed, EncodingFailed, UnreadableAudio
from ezstems.jobs import outcome, runner
from ezstems.jobs.events import job_happened
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.runner import Runner
from ezstems.models import COMPLETED, DELETED, FAILED, PROCESSING, QUEUED, Job
from tests.conftest import Account
from tests.support.separators import LABEL, FastSeparator

OWNER = "a worker"


@pytest.fixture
def archive(instance: Path, app: Flask) -> FolderArchive:
    return FolderArchive(instance, OWNER)


@pytest.fixture
def stop() -> list[bool]:
    return [False]


@pytest.fixture
def run(app: Flask, archive: FolderArchive, separator: FastSeparator, stop: list[bool]) -> Runner:
    return Runner(app, OWNER, archive, separator, lambda: stop[0])


@pytest.fixture
def make_job(app: Flask, account: Account, archive: FolderArchive) -> Callable[..., int]:
    def make(second: int = 1_700_000_000, **values: object) -> int:
        job_id = f"{second}_2"
        filename = f"{job_id}_00000.wav"
        archive.source(filename).write_bytes(b"a song")
        row = {
            "id": job_id,
            "second": second,
            "stems": 2,
            "user_id": account.user_id,
            "cutoff": "11kHz",
            "output": "wav",
            "original_name": "song.wav",
            "filename": filename,
            "size_bytes": 6,
            "owner": OWNER,
        } | values
        with app.app_context():
            job = Job(**row)
            db.session.add(job)
            db.session.commit()
            return job.number

    return make


def row(app: Flask, number: int) -> Job:
    with app.app_context():
        job = db.session.scalars(select(Job).where(Job.number == number)).one()
        db.session.expunge(job)
        return job


def written_on_a_full_disk() -> EncodingFailed:
    error = EncodingFailed("The stem vocals could not be written.")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


def files(instance: Path) -> set[str]:
    return {
        path.relative_to(instance).as_posix()
        for folder in ("uploads", "results")
        for path in (instance / folder).rglob("*")
    }


def test_completed(
    app: Flask,
    instance: Path,
    run: Runner,
    make_job: Callable[..., int],
    separator: FastSeparator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    number = make_job()
    # Row, ZIP and log bear what made the result, not what would make the next one.
    monkeypatch.setattr(separator, "label", lambda: "another model")
    with caplog.at_level(logging.INFO):
        run(number)
    job = row(app, number)
    assert (job.status, job.progress, job.error, job.model, job.samples) == (COMPLETED, 100, None, LABEL, 441)
    assert job.started_at is not None and job.finished_at is not None and job.finished_at >= job.started_at
    assert files(instance) == {"results/1700000000_2.zip", "results/1700000000_2.peaks"}
    with zipfile.ZipFile(instance / "results" / "1700000000_2.zip") as packed:
        assert packed.comment.decode() == f"Separated by EzStems with the model: {LABEL}"
    assert f"job 1700000000_2: completed with the model: {LABEL}, after" in caplog.text
    assert job.clipped is None and job.clipped_samples == {}


def test_a_kept_upload_stays_unless_it_is_to_blame(
    instance: Path, run: Runner, make_job: Callable[..., int], separator: FastSeparator
) -> None:
    run(make_job(keeps_upload=True))
    results = {"results/1700000000_2.zip", "results/1700000000_2.peaks"}
    assert files(instance) == results | {"uploads/1700000000_2_00000.wav"}
    separator.error = UnreadableAudio("no audio")
    run(make_job(1_700_000_001, keeps_upload=True))
    assert files(instance) == results | {"uploads/1700000000_2_00000.wav"}


def test_what_was_clipped_is_in_row_zip_and_log(
    app: Flask,
    instance: Path,
    run: Runner,
    make_job: Callable[..., int],
    separator: FastSeparator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    number = make_job()
    separator.clipped = {"vocals": 1234, "accompaniment": 1}
    told = []
    with caplog.at_level(logging.INFO), job_happened.connected_to(lambda event, **fields: told.append((event, fields))):
        run(number)
    job = row(app, number)
    assert job.clipped == '{"vocals": 1234, "accompaniment": 1}'
    assert job.clipped_samples == separator.clipped
    samples = "1,234 samples of vocals, 1 sample of accompaniment"
    with zipfile.ZipFile(instance / "results" / "1700000000_2.zip") as packed:
        first, second = packed.comment.decode().split("\n")
    assert first == f"Separated by EzStems with the model: {LABEL}"
    assert second == (
        f"Clipped, being louder than full scale: {samples}. "
        "Separate again as 32-bit float WAV (wav32), which never clips."
    )
    assert f"job 1700000000_2: completed with the model: {LABEL}, {samples} clipped, after" in caplog.text
    assert next(fields for event, fields in told if event == "completed")["clipped"] == separator.clipped


@pytest.mark.parametrize(
    ("error", "told", "kept"),
    [
        (UnreadableAudio("The file is longer than 5 seconds."), "The file is longer than 5 seconds.", False),
        (DecodingFailed("The decoder was killed."), "The decoder was killed.", True),
        (EncodingFailed("The stem vocals could not be written."), "The stem vocals could not be written.", True),
        (OSError(errno.ENOSPC, "No space left on device", "/secret/path"), outcome.NO_ROOM, True),
        (written_on_a_full_disk(), outcome.NO_ROOM, True),
        (DamagedFile("The uploaded file was damaged."), "The uploaded file was damaged.", True),
        (ValueError("/secret/path is odd"), outcome.BROKEN, True),
        (MemoryError(), outcome.BROKEN, True),
    ],
)
def test_failed(
    app: Flask,
    instance: Path,
    run: Runner,
    make_job: Callable[..., int],
    separator: FastSeparator,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    told: str,
    kept: bool,
) -> None:
    number = make_job()
    separator.error = error
    with caplog.at_level(logging.INFO):
        run(number)
    job = row(app, number)
    assert (job.status, job.error) == (FAILED, told)
    assert "secret" not in job.error
    # Where the server itself is to blame, the upload stays for `ezstems jobs retry`; nothing else does.
    assert files(instance) == ({"uploads/1700000000_2_00000.wav"} if kept else set())
    assert "1700000000_2" in caplog.text
    if told == outcome.BROKEN:
        assert type(error).__name__ in caplog.text


def test_interrupted(
    app: Flask, instance: Path, run: Runner, make_job: Callable[..., int], separator: FastSeparator, stop: list[bool]
) -> None:
    number = make_job(crashes=1)
    separator.hold()
    stop[0] = True
    run(number)
    job = row(app, number)
    assert (job.status, job.progress, job.crashes, job.owner) == (QUEUED, 0, 0, OWNER)
    assert files(instance) == {"uploads/1700000000_2_00000.wav"}


def settled(app: Flask, number: int) -> tuple[str, str | None, bool]:
    job = row(app, number)
    return job.status, job.error, job.expired_at is not None


def test_deleted_while_it_runs(
    app: Flask,
    instance: Path,
    archive: FolderArchive,
    separator: FastSeparator,
    make_job: Callable[..., int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    number = make_job()
    separator.hold()  # only the row can end it
    looks = iter((False, False, True))

    def stopping() -> bool:
        if next(looks, False):
            with app.app_context():
                assert Job.delete(number)
        return False

    with caplog.at_level(logging.INFO):
        Runner(app, OWNER, archive, separator, stopping)(number)
    assert settled(app, number) == (FAILED, DELETED, True)
    assert files(instance) == set()
    assert "job 1700000000_2: stopped, deleted while it ran" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("error", [None, ValueError("whatever")])
def test_deleted_too_late_to_stop_it(
    app: Flask,
    instance: Path,
    run: Runner,
    make_job: Callable[..., int],
    separator: FastSeparator,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
) -> None:
    number = make_job()
    separator.error = error
    complete, fail = Job.complete, Job.fail

    def first_delete(settle: Callable[..., bool]) -> Callable[..., bool]:
        def settling(*arguments: object, **values: object) -> bool:
            assert Job.delete(number)
            return settle(*arguments, **values)

        return settling

    monkeypatch.setattr(Job, "complete", first_delete(complete))
    monkeypatch.setattr(Job, "fail", first_delete(fail))
    run(number)
    assert settled(app, number) == (FAILED, DELETED, True)
    assert files(instance) == set(), "what was packed after the deletion goes too"


def test_whether_it_was_deleted_cannot_be_read_for_a_while(
    app: Flask,
    run: Runner,
    make_job: Callable[..., int],
    separator: FastSeparator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def locked(_number: int, _owner: str) -> bool:
        separator.release()
        raise OperationalError("SELECT jobs", {}, Exception("database is locked"))

    monkeypatch.setattr(runner, "LOOK_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(Job, "is_run_by", locked)
    separator.hold()
    number = make_job()
    run(number)
    assert row(app, number).status == COMPLETED
    assert "whether it was deleted could not be read" in caplog.text


@pytest.mark.parametrize("values", [{"status": PROCESSING}, {"status": COMPLETED}, {"owner": "somebody else"}])
def test_what_is_not_ours_to_claim_is_left_alone(
    app: Flask, run: Runner, make_job: Callable[..., int], separator: FastSeparator, values: dict[str, str]
) -> None:
    number = make_job(**values)
    run(number)
    assert separator.sources == []
    assert row(app, number).status == values.get("status", QUEUED)


def test_an_unknown_number_is_left_alone(run: Runner, separator: FastSeparator) -> None:
    run(99)
    assert separator.sources == []


def test_progress_reaches_the_row(
    app: Flask,
    run: Runner,
    make_job: Callable[..., int],
    separator: FastSeparator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "REPORT_EVERY_SECONDS", 0.0)
    number = make_job()
    seen = []
    report = Job.report

    def spy(number: int, owner: str, progress: int) -> bool:
        seen.append(progress)
        return report(number, owner, progress)

    monkeypatch.setattr(Job, "report", spy)
    separator.seconds = 0.05
    run(number)
    assert seen == [42]  # the same percentage is not written again


def test_a_progress_that_cannot_be_stored_costs_only_the_number(
    app: Flask,
    run: Runner,
    make_job: Callable[..., int],
    separator: FastSeparator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def locked(*_: object) -> bool:
        raise OperationalError("UPDATE jobs", {}, Exception("database is locked"))

    monkeypatch.setattr(runner, "REPORT_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(Job, "report", locked)
    number = make_job()
    run(number)
    assert row(app, number).status == COMPLETED
    assert "its progress could not be stored" in caplog.text


def test_a_database_that_fails_for_a_while_loses_nothing(
    app: Flask, run: Runner, make_job: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RETRY_EVERY_SECONDS", 0.0)
    number = make_job()
    complete, claim = Job.complete, Job.claim
    failures = {"claim": 2, "complete": 2}

    def flaky(name: str, act: Callable[..., bool]) -> Callable[..., bool]:
        def acting(*arguments: object, **values: object) -> bool:
            if failures[name]:
                failures[name] -= 1
                raise OperationalError("UPDATE jobs", {}, Exception("database or disk is full"))
            return act(*arguments, **values)

        return acting

    monkeypatch.setattr(Job, "claim", flaky("claim", claim))
    monkeypatch.setattr(Job, "complete", flaky("complete", complete))
    run(number)
    assert row(app, number).status == COMPLETED
    assert failures == {"claim": 0, "complete": 0}


def test_who_counts_and_fails_leaves_no_job_half_way(
    app: Flask, run: Runner, make_job: Callable[..., int], separator: FastSeparator
) -> None:
    def failing(event: str, **_fields: object) -> None:
        if event == "started":
            raise RuntimeError("a counter is broken")

    number = make_job()
    with job_happened.connected_to(failing):
        run(number)
    assert (row(app, number).status, row(app, number).error) == (FAILED, outcome.BROKEN)
    assert separator.sources == []


def test_a_result_is_replaced_not_appended(
    app: Flask, instance: Path, run: Runner, make_job: Callable[..., int], archive: FolderArchive
) -> None:
    number = make_job()
    archive.result("1700000000_2").write_bytes(b"of an earlier run whose row was never committed")
    run(number)
    assert archive.result("1700000000_2").read_bytes()[:2] == b"PK"
    assert files(instance) == {"results/1700000000_2.zip", "results/1700000000_2.peaks"}
