"""Uploads and results in an object store: the same answers, and nothing of them on the box."""

import io
import logging
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path, PurePath
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import ConfigurationError, StorageAway
from ezstems.jobs import Desk, bucket, retention, storage
from ezstems.jobs.bucket import Bucket
from ezstems.jobs.clock import TrustedClock
from ezstems.jobs.retention import Sweeper, restore_lost_files, sweep
from ezstems.jobs.scratch import Scratch
from ezstems.models import Job
from tests.conftest import Account
from tests.support.backend_fixtures import alone
from tests.support.backends import ObjectStore, Postgres, Redis
from tests.support.callers import Caller
from tests.support.clusters import Cluster
from tests.support.forwarder import Forwarder
from tests.support.separators import FastSeparator

Upload = Callable[..., TestResponse]

pytestmark = pytest.mark.usefixtures("no_housekeeping")

FOLDERS = ("uploads", "results", "lost")
DAY = timedelta(days=1)


@pytest.fixture(scope="session")
def network(object_store: ObjectStore) -> Iterator[Forwarder]:
    forwarder = Forwarder(object_store.port)
    yield forwarder
    forwarder.close()


# What is to go is to be seen going; tests/api/test_kept_uploads.py keeps them, there as well.
ONCE = {"EZSTEMS_KEEP_UPLOADS": "off"}


@pytest.fixture(params=["file", "s3"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    alone(monkeypatch)
    if request.param == "file":
        (tmp_path / "store").mkdir()
        return ONCE | {storage.URL: f"file://{tmp_path}/store"}
    store, network = request.getfixturevalue("object_store"), request.getfixturevalue("network")
    network.mend()
    for name, value in (store.credentials | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{network.port}"}).items():
        monkeypatch.setenv(name, value)
    return ONCE | {storage.URL: store.new_url()}


@pytest.fixture
def break_store(backend: dict[str, Any], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what takes the store away, and returns what brings it back."""
    monkeypatch.setattr(bucket, "PROBE_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("ezstems.jobs.patience.AGAIN_SECONDS", 0.05)
    url = backend[storage.URL]

    def break_it() -> Callable[[], object]:
        if url.startswith("file://"):
            folder = Path(url.removeprefix("file://"))
            hidden = folder.rename(folder.with_name("hidden"))
            return lambda: hidden.rename(folder)
        network = request.getfixturevalue("network")
        network.cut()
        return network.mend

    return break_it


@pytest.fixture
def objects(app: Flask) -> Bucket:
    found = storage.bucket_of(app)
    assert found is not None
    return found


def names(objects: Bucket, *folders: str) -> set[str]:
    return {str(each.key) for folder in folders or FOLDERS for each in objects.list(folder)}


def row(app: Flask, job_id: str) -> Job:
    with app.app_context():
        job = db.session.query(Job).filter_by(id=job_id).one()
        db.session.expunge(job)
        return job


def eventually(test: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_song_passes_through_the_store(
    app: Flask, client: FlaskClient, account: Account, instance: Path, upload: Upload, separator: FastSeparator,
    finished: Callable[[str], Job], objects: Bucket, song: bytes,
) -> None:  # fmt: skip
    separator.hold()
    data = upload().json["data"]
    key = row(app, data["id"]).upload_key
    assert names(objects) == {f"uploads/{key}"} and objects.read(PurePath("uploads", key)) == song
    separator.release()
    job = finished(data["id"])
    assert job.status == "completed" and separator.sources == [job.filename]
    assert names(objects) == {f"results/{job.id}.{job.owner}.{kind}" for kind in ("zip", "peaks")}
    left = {path.name for path in instance.rglob("*") if path.is_file() and path.suffix in (".wav", ".zip", ".upload")}
    assert left == set() and not (instance / "uploads").exists() and not (instance / "results").exists()

    def get(**headers: str) -> TestResponse:
        return client.get(f"/api/v1/download.php?id={job.id}", headers=account.headers | headers)

    whole = get()
    assert whole.status_code == 200 and len(whole.data) == job.result_bytes
    with zipfile.ZipFile(io.BytesIO(whole.data)) as packed:
        assert packed.namelist() == ["vocals.wav", "accompaniment.wav"] and packed.testzip() is None
    part = get(Range="bytes=100-199")
    assert part.status_code == 206 and part.data == whole.data[100:200]
    assert get(**{"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert get().headers["ETag"] == whole.headers["ETag"]


def test_a_row_that_was_not_to_be_leaves_no_object(
    app: Flask, upload: Upload, objects: Bucket, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise RuntimeError("the row can't be written")

    monkeypatch.setattr("ezstems.jobs.admission.free_second", refuse)
    assert upload().status_code == 500
    assert names(objects) == set()


def test_nothing_over_the_limit_reaches_the_store(upload: Upload, objects: Bucket, song: bytes) -> None:
    assert upload(content=song + bytes(31 << 20)).status_code == 400
    assert upload(content=b"no audio at all").status_code == 400
    assert names(objects) == set()


@pytest.mark.parametrize("damage", ["missing", "shorter", "another"])
def test_an_upload_that_the_store_spoilt_is_not_blamed_on_the_file(
    app: Flask, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator, objects: Bucket, song: bytes,
    damage: str, make_app: Callable[..., Flask],
) -> None:  # fmt: skip
    separator.hold()
    first = upload().json["data"]["id"]
    assert separator.started.wait(60)
    second = upload().json["data"]["id"]
    place = PurePath("uploads", row(app, second).upload_key)
    if damage == "missing":
        objects.delete(place)
    else:
        objects.put(place, song[:-1] if damage == "shorter" else song[:-1] + bytes([song[-1] ^ 1]))
    separator.release()
    assert finished(first).status == "completed"
    job = finished(second)
    told = "lost" if damage == "missing" else "damaged"
    assert job.status == "failed" and f"was {told} on the server's disk" in (job.error or "")
    assert names(objects, "uploads") == (set() if damage == "missing" else {str(place)}), "kept, to be looked at"


def test_an_upload_is_taken_back_from_the_lost(
    app: Flask, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator, objects: Bucket, desk: Desk
) -> None:
    separator.hold()
    first = upload().json["data"]["id"]
    assert separator.started.wait(60)
    second = upload().json["data"]["id"]
    place = PurePath("uploads", row(app, second).upload_key)
    assert desk._archive.lost.put_aside(place, row(app, second).created_at)
    assert str(place) not in names(objects) and len(names(objects, "lost")) == 1
    separator.release()
    assert finished(first).status == finished(second).status == "completed"


def test_a_result_that_the_store_spoilt(
    app: Flask, client: FlaskClient, account: Account, done: Callable[..., Job], objects: Bucket, desk: Desk
) -> None:
    jobs = [done(), done(), done()]
    whole, shorter, missing = (PurePath("results", f"{job.id}.{job.owner}.zip") for job in jobs)
    objects.put(shorter, objects.read(shorter)[:-1])
    objects.delete(missing)
    for job, status in zip(jobs, (200, 500, 500), strict=True):
        answer = client.get(f"/api/v1/download.php?id={job.id}", headers=account.headers)
        assert answer.status_code == status
        if status == 500:
            assert answer.json["error"] == "Stems damaged or lost"
    with app.app_context():
        desk._sweeper.sweep_when_due()
    told = "2 results are damaged or missing on the server's disk; the log names the jobs."
    assert desk._sweeper.problems() == [told]


def test_what_goes_takes_its_objects_along(
    app: Flask, account: Account, done: Callable[..., Job], objects: Bucket, desk: Desk, run: Callable[..., Result],
    backend: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv(storage.URL, backend[storage.URL])
    kept, deleted, expired = done(), done(), done()
    with app.app_context():
        assert desk.delete(deleted)
        Job.update_if(expired.number, finished_at=expired.finished_at - 4 * DAY)
        assert sweep(desk._archive, 72) == 1
    assert names(objects) == {f"results/{kept.id}.{kept.owner}.{kind}" for kind in ("zip", "peaks")}
    run("users", "delete", account.email, "--yes")
    assert names(objects) == set()


def test_objects_that_no_row_names_are_put_aside_and_kept_for_a_retention(
    app: Flask, done: Callable[..., Job], objects: Bucket, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = done()
    owners = {f"results/{job.id}.{job.owner}.{kind}" for kind in ("zip", "peaks")}
    strange = {"uploads/0123.wav", "results/1_2.someone.zip", f"results/{job.id}.another.zip"}
    for name in strange:
        objects.put(PurePath(name), b"x")
    with app.app_context():
        sweep(desk._archive, 72)
        assert names(objects) == owners | strange, "new: its row may be on its way"
        monkeypatch.setattr(retention, "ORPHAN_AGE_SECONDS", -1.0)
        sweep(desk._archive, 72)
        assert names(objects, "uploads", "results") == owners
        assert {file.home for file in desk._archive.lost.files()} == set(map(PurePath, strange))
        monkeypatch.setattr(retention, "ORPHAN_AGE_SECONDS", 3600.0)
        sweep(desk._archive, 72)
        assert len(names(objects, "lost")) == 3
        sweep(desk._archive, -1, TrustedClock(), believe=True)
        assert names(objects, "lost") == set()


@pytest.mark.parametrize("backend", ["file"], indirect=True)
def test_of_two_boxes_one_sweeps_and_both_have_one_id_and_one_key(
    make_app: Callable[..., Flask], postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    swept: list[Any] = []
    monkeypatch.setattr(retention, "sweep", lambda archive, *rest: swept.append(archive) or sweep(archive, *rest))
    url = postgres.url_of(postgres.new_database())
    boxes = [make_app(instance=tmp_path / name, database_url=url) for name in ("one", "two")]
    assert boxes[0].config["SECRET_KEY"] == boxes[1].config["SECRET_KEY"]
    for box in boxes:
        with box.app_context():
            box.extensions["ezstems"]._sweeper.sweep_when_due()
    assert len(swept) == 1


def test_what_belongs_to_another_database_now_is_not_swept(
    app: Flask, objects: Bucket, desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "ORPHAN_AGE_SECONDS", -1.0)
    objects.put(PurePath("results/1_2.someone.zip"), b"x")
    held = objects.read(PurePath("instance_id"))
    objects.put(PurePath("instance_id"), b"0" * 32)
    sweeper = Sweeper(desk._archive, 72)
    with app.app_context():
        sweeper.sweep_when_due()
        assert "nothing is swept" in caplog.text
        objects.put(PurePath("instance_id"), held)
        assert names(objects) == {"results/1_2.someone.zip"}
        Sweeper(desk._archive, 72).sweep_when_due()
    assert names(objects, "results") == set() and len(names(objects, "lost")) == 1


def test_what_a_row_names_again_returns(
    app: Flask, done: Callable[..., Job], objects: Bucket, desk: Desk
) -> None:
    job = done()
    owners = names(objects)
    with app.app_context():
        for name in owners:
            assert desk._archive.lost.put_aside(PurePath(name), job.created_at)
        assert names(objects, "results") == set()
        restore_lost_files(desk._archive)
    assert names(objects) == owners


def test_while_the_store_is_away_everybody_is_told_so(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, done: Callable[..., Job], objects: Bucket,
    break_store: Callable[[], Callable[[], object]], desk: Desk, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    job = done()
    back = break_store()
    time.sleep(0.1)  # what was known of it is old
    for answer in (
        client.get(f"/api/v1/download.php?id={job.id}", headers=account.headers),
        upload(),
        client.get(f"/api/v1/download.php?id={job.id}", headers=account.headers | {"Range": "bytes=0-9"}),
    ):
        assert (answer.status_code, answer.headers["Retry-After"]) == (500, "60")
        assert answer.json == {"error": "Storage unavailable", "message": bucket.AWAY}
    health = client.get("/health")
    assert health.status_code == 503 and health.json["message"] == bucket.AWAY
    with app.app_context():
        desk._sweeper.sweep_when_due()
    assert desk._sweeper.problems() == []
    back()
    eventually(lambda: client.get("/health").status_code == 200)
    assert client.get(f"/api/v1/download.php?id={job.id}", headers=account.headers).status_code == 200
    assert upload().status_code == 200
    assert "damaged" not in caplog.text
    assert caplog.text.count("can't be reached: ") == caplog.text.count("can be reached again") == 1


def test_a_store_that_goes_once_the_result_is_open_is_told_before_an_answer_begins(
    client: FlaskClient, account: Account, upload: Upload, finished: Callable[[str], Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    job = finished(upload().json["data"]["id"])

    def read_range(*_: object) -> memoryview:
        raise StorageAway(bucket.AWAY, bucket.RETRY_AFTER_SECONDS)

    monkeypatch.setattr(Bucket, "read_range", read_range)
    for asked in ({}, {"Range": "bytes=10-20"}):
        answer = client.get(f"/api/v1/download.php?id={job.id}", headers=account.headers | asked)
        assert (answer.status_code, answer.headers["Retry-After"], answer.json["message"]) == (500, "60", bucket.AWAY)


def test_a_job_waits_for_the_store_before_and_after_its_separation(
    app: Flask, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator,
    break_store: Callable[[], Callable[[], object]], client: FlaskClient, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    separator.hold()
    first = upload().json["data"]["id"]
    assert separator.started.wait(60)
    second = upload().json["data"]["id"]
    back = break_store()
    separator.release()  # the first can't put its result
    eventually(lambda: "can't be reached" in caplog.text)
    assert (row(app, first).status, row(app, second).status) == ("processing", "queued")
    back()
    assert finished(first).status == finished(second).status == "completed"
    assert len(separator.sources) == 2, "none was separated twice"


def test_a_job_that_has_waited_too_long_goes_back_to_the_queue(
    app: Flask, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator,
    break_store: Callable[[], Callable[[], object]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("ezstems.jobs.patience.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 0.5)  # which lines it up again
    caplog.set_level(logging.INFO)
    separator.hold()
    job_id = upload().json["data"]["id"]
    assert separator.started.wait(60)
    back = break_store()
    separator.release()
    eventually(lambda: f"job {job_id}: interrupted: the uploads can't be reached" in caplog.text)
    assert row(app, job_id).status == "queued" and row(app, job_id).crashes == 0
    back()
    assert finished(job_id).status == "completed"


def test_small_ranges_fetch_little_and_whole_files_in_few_calls(
    backend: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, content = Bucket(backend[storage.URL]), bytes(range(256)) * (40 << 10)  # 10 MiB
    objects.put(PurePath("results/1_2.me.zip"), content)
    fetched: list[int] = []
    read_range = Bucket.read_range

    def counting(self: Bucket, key: str, e_tag: str | None, start: int, end: int) -> memoryview:
        fetched.append(end - start)
        return read_range(self, key, e_tag, start, end)

    monkeypatch.setattr(Bucket, "read_range", counting)
    with objects.open(PurePath("results/1_2.me.zip")) as opened:
        assert opened.seek(5_000_000) and opened.read(1000) == content[5_000_000:5_001_000]
        assert opened.read(1000) == content[5_001_000:5_002_000] and fetched == [64 << 10]
        fetched.clear()
        opened.seek(-22, 2)
        assert opened.read(22) == content[-22:]
        opened.seek(-60_000, 2)
        assert opened.read(9) == content[-60_000:-59_991]
        assert len(fetched) == 1
        fetched.clear()
        opened.seek(0)
        blocks = iter(lambda: opened.read(256 << 10), b"")
        assert b"".join(blocks) == content and len(fetched) <= 13 and max(fetched) <= 1 << 20


def test_an_object_that_is_replaced_is_not_sent_in_two_halves(backend: dict[str, Any]) -> None:
    objects, place = Bucket(backend[storage.URL]), PurePath("results/1_2.me.zip")
    objects.put(place, b"a" * 1_000_000)
    with objects.open(place) as opened:
        assert opened.read(10) == b"a" * 10
        time.sleep(0.01)
        objects.put(place, b"b" * 1_000_000)
        opened.seek(500_000)
        with pytest.raises(FileNotFoundError):
            opened.read(10)


def test_who_begins_clears_the_scratch_of_the_dead_before_it_needs_its_own(tmp_path: Path) -> None:
    lives = Scratch(tmp_path / "scratch", "lives")
    upload = lives.path("half.upload")
    upload.write_bytes(b"half")
    left = tmp_path / "scratch" / "dead"
    left.mkdir()
    (left / "half.upload").write_bytes(b"half")
    begins = Scratch(tmp_path / "scratch", "begins")
    for _ in range(2):
        begins.clear()
        assert not left.exists() and upload.exists() and (tmp_path / "scratch" / "begins").is_dir()
    Scratch(tmp_path / "scratch", "third").clear()
    assert (tmp_path / "scratch" / "begins").is_dir(), "it lives still after clearing twice"
    upload.unlink()
    (tmp_path / "file").touch()
    Scratch(tmp_path / "file" / "scratch", "nowhere").clear()  # it may begin all the same


def test_scratch_of_dead_processes_goes_with_the_next_start_and_that_of_live_ones_stays(
    instance: Path, upload: Upload, separator: FastSeparator, make_app: Callable[..., Flask], finished: Any
) -> None:
    left = instance / "scratch" / "dead"
    left.mkdir(parents=True)
    (left / "half.upload").write_bytes(b"half")
    separator.hold()
    job_id = upload().json["data"]["id"]
    assert separator.started.wait(60) and not left.exists()
    (mine,) = [path for path in (instance / "scratch").iterdir() if path.is_dir()]
    other = make_app()
    other.extensions["ezstems"].incoming().discard()
    assert mine.exists() and len([path for path in (instance / "scratch").iterdir() if path.is_dir()]) == 2
    separator.release()
    assert finished(job_id).status == "completed"


def test_the_id_and_the_secret_are_the_stores(
    app: Flask, make_app: Callable[..., Flask], tmp_path: Path, objects: Bucket, instance: Path, backend: dict[str, Any]
) -> None:
    second = make_app(instance=tmp_path / "another box", database_url=f"sqlite:///{instance}/ezstems.sqlite3")
    assert second.config["SECRET_KEY"] == app.config["SECRET_KEY"] == objects.read(PurePath("secret_key"))
    assert not (instance / "instance_id").exists() and not (instance / "secret_key").exists()
    with pytest.raises(ConfigurationError, match="belongs to another database, not to .* nothing was touched"):
        make_app(instance=tmp_path / "stranger")
    other_url = backend[storage.URL] + "-other"
    if other_url.startswith("file:"):
        Path(other_url.removeprefix("file://")).mkdir()
    with pytest.raises(ConfigurationError, match="belongs to another instance folder or store"):
        make_app(storage_url=other_url)


def test_show_and_adopt_know_the_store(
    app: Flask, done: Callable[..., Job], run: Callable[..., Result], backend: dict[str, Any], objects: Bucket,
    monkeypatch: pytest.MonkeyPatch, instance: Path, make_app: Callable[..., Flask],
) -> None:  # fmt: skip
    done()
    url, held = backend[storage.URL], objects.read(PurePath("instance_id")).decode()
    monkeypatch.setenv(storage.URL, url)
    objects.put(PurePath("results/1_2.me.zip"), b"x")
    told = run("instance", "show").output
    assert f"store     {url}\nits id    {held}\nfiles     3, 1 of which no row names\n" in told
    objects.put(PurePath("instance_id"), b"0" * 32)
    assert "they are not one instance's" in run("instance", "show", code=1).output
    assert f"bound {url} with 3 files and " in run("instance", "adopt", "--yes").output
    assert objects.read(PurePath("instance_id")).decode() not in (held, "0" * 32)
    assert "the bucket's versions" in run("backup", str(instance.parent / "backup.tar"), code=1).output
    assert names(Bucket(url), "instance_id.parts") == set()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["s3"], indirect=True)
def test_boxes_keep_no_song(
    backend: dict[str, Any], postgres: Postgres, redis: Redis, tmp_path: Path, song: bytes
) -> None:
    """A master looks at the store, too, before it forks; a store's client of its own would hang its children."""
    with Cluster(tmp_path, postgres, redis.new_url(), storage_url=backend[storage.URL]) as cluster:
        web, worker, other = cluster.web(workers=2), cluster.worker(separations=2), cluster.web()
        for number, box in enumerate((web, worker, other)):  # each with a folder of its own
            box.environ["EZSTEMS_INSTANCE"] = str(tmp_path / f"box{number}")
            box.start()
        key = web.key()
        caller = Caller(web, key)
        ids = [caller.wait(caller.upload(song)["id"])["id"] for _ in range(3)]
        caller = Caller(other, key)
        for job_id in ids:
            packed = io.BytesIO(caller.get("download.php", id=job_id).content)
            assert zipfile.ZipFile(packed).testzip() is None
        assert [path for path in tmp_path.rglob("*") if path.suffix in (".zip", ".wav", ".upload", ".peaks")] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "it refuses the credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "it can't be reached or used"),
        ({"url": "s3://no-such-bucket/songs"}, "there is no such bucket or folder"),
        ({"url": "file:///no/such/folder"}, "there is no such bucket or folder"),
        ({"url": "az://songs"}, "Account must be specified"),
        ({"url": "/var/songs"}, "must be s3://BUCKET/PREFIX"),
        ({"url": "http://127.0.0.1/songs"}, "must be s3://BUCKET/PREFIX"),
        ({"url": "s3://"}, "must be s3://BUCKET/PREFIX"),
        ({"url": "file://songs"}, "must be s3://BUCKET/PREFIX"),
        ({"url": "s3://key:secret@songs/x"}, "must be s3://BUCKET/PREFIX"),
    ],
)
@pytest.mark.parametrize("backend", ["s3"], indirect=True)
def test_a_store_that_cannot_be_used_is_refused_in_one_line(
    backend: dict[str, Any], make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str], told: str, instance: Path,
) -> None:  # fmt: skip
    settings = {"storage_url": url} if (url := change.pop("url", None)) else {}
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"^EZSTEMS_STORAGE_URL=") as refused:
        make_app(**settings)
    assert told in str(refused.value) and "\n" not in str(refused.value) and time.monotonic() - began < 15
    assert not (instance / "ezstems.sqlite3").exists()
