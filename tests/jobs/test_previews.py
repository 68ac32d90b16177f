"""Previews of finished jobs: made behind them, kept and lost with them, and never a reason for anything to fail."""

import logging
import threading
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import EncodingFailed, Interrupted, StorageAway
from ezstems.jobs import current_desk, preview_pack
from ezstems.jobs.archive import Archive
from ezstems.jobs.preview_maker import PreviewMaker, newest_completed
from ezstems.jobs.retention import restore_lost_files, sweep
from ezstems.models import Job, utcnow
from tests.support.backend_fixtures import alone

Upload = Callable[..., TestResponse]

pytestmark = pytest.mark.usefixtures("no_housekeeping")


@pytest.fixture(params=["folder", "store"])
def app(
    request: pytest.FixtureRequest, make_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Flask:
    """Return an app whose files are in its folder, or in a store; the tests make the previews."""
    if request.param == "folder":
        return make_app()
    alone(monkeypatch)
    (tmp_path / "store").mkdir()
    return make_app(storage_url=f"file://{tmp_path}/store")


@pytest.fixture
def results(app: Flask, instance: Path, tmp_path: Path) -> Callable[[], set[str]]:
    """Return what lists the kinds of the files in the folder of results."""
    folder = (tmp_path / "store" if app.config["EZSTEMS_STORAGE_URL"] else instance) / "results"
    return lambda: {path.suffix for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture
def archive(app: Flask) -> Archive:
    with app.app_context():
        return current_desk()._archive


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def maker(app: Flask, archive: Archive, stop: threading.Event) -> PreviewMaker:
    return PreviewMaker(app, archive, lambda: True, stop.is_set)


@pytest.fixture
def job(upload: Upload, finished: Callable[[str], Job]) -> Job:
    return finished(upload(stems="2").json["data"]["id"])


def contents(app: Flask, job: Job) -> Any:
    with app.app_context():
        return current_desk().previews(job)


def test_every_stem_and_the_original_have_their_chunks(
    app: Flask, maker: PreviewMaker, job: Job, results: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert contents(app, job) is None and maker.newest_without() == job.number
    with monkeypatch.context() as patch:
        if app.config["EZSTEMS_STORAGE_URL"] is None:
            patch.setattr(preview_pack.shutil, "copyfileobj", None)  # stems are read where they lie
        maker.make(job.number)
    made = contents(app, job)
    assert (made["frames"], made["chunk_frames"], made["lead_in_frames"], made["clips"]) == (
        job.samples, 176_400, 882, True,
    )  # fmt: skip
    assert list(made["sounds"]) == ["vocals", "accompaniment", "original"]
    for name in made["sounds"]:
        with app.app_context(), current_desk().preview(job, name, 0) as chunk:
            assert chunk.read(4) == b"OggS"
        with app.app_context(), pytest.raises(FileNotFoundError):
            current_desk().preview(job, name, 1)
    assert results() == {".zip", ".peaks", ".previews"}
    assert maker.newest_without() is None


def test_they_go_with_the_song_and_its_time(
    app: Flask, archive: Archive, maker: PreviewMaker, job: Job, results: Callable[[], set[str]]
) -> None:
    maker.make(job.number)
    with app.app_context():
        row = db.session.get_one(Job, job.number)
        row.finished_at = utcnow() - timedelta(hours=73)
        db.session.commit()
        assert sweep(archive, 72) == 1
    assert results() == set()
    maker.make(job.number)  # asked for before, begun after
    assert results() == set()


def test_a_song_that_is_deleted_while_they_are_made_leaves_nothing(
    app: Flask, maker: PreviewMaker, job: Job, results: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, archive: Archive,
) -> None:  # fmt: skip
    keep = archive.previews.keep

    def keep_late(kept: Job, path: Path) -> None:
        with app.app_context():
            current_desk().delete(db.session.get_one(Job, kept.number))
        keep(kept, path)

    monkeypatch.setattr(archive.previews, "keep", keep_late)
    with caplog.at_level(logging.WARNING):
        maker.make(job.number)
    assert results() == set() and caplog.text == ""


ERRORS = OSError(28, "No space left"), ValueError("a slip"), Interrupted("stopped"), StorageAway("away", 1)


@pytest.mark.parametrize("error", ERRORS)
def test_what_fails_by_the_box_leaves_nothing_and_is_tried_again_later(
    app: Flask, archive: Archive, maker: PreviewMaker, job: Job, results: Callable[[], set[str]], instance: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:

        def fail(packed: zipfile.ZipFile, *_: object) -> None:
            packed.writestr("vocals/0.ogg", b"half")
            raise error

        patch.setattr(preview_pack, "_add", fail)
        maker.make(job.number)
    assert results() == {".zip", ".peaks"} and not list(instance.rglob("*previews.zip"))
    interrupted = isinstance(error, Interrupted | StorageAway)
    assert (f"job {job.id}: it gets no previews" in caplog.text) is not interrupted
    assert maker.newest_without() == (job.number if interrupted else None)  # not by this process
    another = PreviewMaker(app, archive, lambda: True, lambda: False)
    assert another.newest_without() == job.number
    another.make(job.number)
    assert contents(app, job)["sounds"]


def test_what_no_previews_can_be_made_of_is_tried_once_for_all(
    app: Flask, archive: Archive, maker: PreviewMaker, job: Job, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise EncodingFailed("ffmpeg ended with 1")

    monkeypatch.setattr(preview_pack, "_add", fail)
    maker.make(job.number)
    assert f"job {job.id}: no previews can be made of it: ffmpeg ended with 1" in caplog.text
    assert contents(app, job) is None
    assert PreviewMaker(app, archive, lambda: True, lambda: False).newest_without() is None


def test_a_store_that_is_away_is_no_try(
    archive: Archive, maker: PreviewMaker, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(StorageAway):
        patch.setattr(maker, "_has_previews", Mock(side_effect=StorageAway("away", 1)))
        maker.make(job.number)
    assert maker.newest_without() == job.number


@pytest.mark.parametrize("app", ["folder"], indirect=True)
def test_damaged_ones_are_as_good_as_none(
    app: Flask, maker: PreviewMaker, job: Job, instance: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maker.make(job.number)
    (path,) = instance.glob("results/*.previews")
    path.write_bytes(path.read_bytes()[:5000])
    assert contents(app, job) is None
    assert f"job {job.id}: its previews are damaged" in caplog.text


def test_without_an_upload_there_is_no_original(app: Flask, maker: PreviewMaker, job: Job) -> None:
    with app.app_context():
        db.session.get_one(Job, job.number).keeps_upload = False
        db.session.commit()
    maker.make(job.number)
    assert list(contents(app, job)["sounds"]) == ["vocals", "accompaniment"]


def test_the_directories_of_a_few_files_are_kept(
    app: Flask, maker: PreviewMaker, upload: Upload, finished: Callable[[str], Job]
) -> None:
    jobs = [finished(upload(stems="2").json["data"]["id"]) for _ in range(preview_pack.MOST_DIRECTORIES + 2)]
    for job in jobs:
        maker.make(job.number)
    for job in [*jobs, *jobs]:
        assert contents(app, job)["frames"] == job.samples
    assert len(preview_pack._directories) == preview_pack.MOST_DIRECTORIES


def test_what_a_dead_process_was_making_goes(
    app: Flask, archive: Archive, job: Job, results: Callable[[], set[str]], instance: Path
) -> None:
    lent = archive.previews.workspace(job)
    (lent.__enter__() / "previews.zip").write_bytes(b"half")  # and no end
    if app.config["EZSTEMS_STORAGE_URL"] is None:
        archive.remove_unfinished(archive._owner)  # type: ignore[attr-defined]
    else:  # its lock went with the process
        archive._scratch._make()  # type: ignore[attr-defined]
        assert list(instance.glob("scratch/*/*"))  # alive, it keeps its own
        lent.__exit__(None, None, None)
    assert results() == {".zip", ".peaks"} and not list(instance.rglob("*previews*"))


def test_they_are_put_aside_and_taken_back_with_the_rest(
    app: Flask, archive: Archive, maker: PreviewMaker, job: Job, results: Callable[[], set[str]]
) -> None:
    maker.make(job.number)
    with app.app_context():
        for place in archive.places_of(job):
            archive.lost.put_aside(place, utcnow())
        assert results() == set()
        restore_lost_files(archive)
    assert results() == {".zip", ".peaks", ".previews"}
    assert contents(app, job)["sounds"]


@pytest.mark.sqlite("its plan is explained")
@pytest.mark.parametrize("app", ["folder"], indirect=True)
def test_what_has_expired_is_not_looked_at_for_them(app: Flask) -> None:
    said: list[tuple[str, Any]] = []
    with app.app_context():
        connection = db.session.connection()
        event.listen(connection, "before_cursor_execute", lambda *told: said.append(told[2:4]))
        newest_completed()
        statement, values = said[0]
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert len(plan) == 1 and "ix_jobs_finished_at" in plan[0], plan


def test_a_song_whose_length_nobody_noted_is_left_alone(app: Flask, maker: PreviewMaker, job: Job) -> None:
    with app.app_context():
        db.session.get_one(Job, job.number).samples = None
        db.session.commit()
    assert maker.newest_without() is None
