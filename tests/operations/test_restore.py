"""A backup restored: checked before anything is written, whole or not at all, and an instance of its own."""

import gzip
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from werkzeug.test import TestResponse

from ezstems.errors import ConfigurationError
from ezstems.jobs import restore as restores
from ezstems.models import Job
from tests.conftest import Account
from tests.support.forks import FORKS
from tests.support.separators import FastSeparator

Run = Callable[..., Result]
DATABASE, ID = "ezstems.sqlite3", "instance_id"
# Of later than the ids.
NEWER = ("metadata_text", "keeps_upload", "upload_key", "webhook_url")
NEWER_TABLES = ("workers", "idempotency_keys", "webhooks", "deliveries")
NEWER_INDEXES = ("ix_jobs_kept", "ix_jobs_queued", "ix_jobs_finished_at", "ix_jobs_upload_key")


@pytest.fixture
def backup(
    run: Run,
    app: Flask,
    done: Callable[..., Job],
    upload: Callable[..., TestResponse],
    separator: FastSeparator,
    instance: Path,
    tmp_path: Path,
) -> Path:
    """Return a backup of an account, a completed job, one that runs and one that waits."""
    (instance / "config.py").write_text("EZSTEMS_THREADS = 7\n")
    done()
    separator.hold()
    separator.started.clear()
    assert upload().status_code == upload(stems="4").status_code == 200
    assert separator.started.wait(60)
    run("backup", str(tmp_path / "backup.tar"))
    return tmp_path / "backup.tar"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "restored"


def entries_of(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as packed:
        return {entry.name: packed.extractfile(entry).read() for entry in packed}  # type: ignore[union-attr]


def pack(tar: Path, entries: dict[str, Any], **options: Any) -> Path:
    """Write a tar of entries: bytes, or a TarInfo without any."""
    with tarfile.TarFile(tar, "w", **options) as packed:
        for name, content in entries.items():
            entry = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.name = name
            data = content if isinstance(content, bytes) else b""
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return tar


def query(database: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(database, timeout=30)) as rows:
        found = rows.execute(statement).fetchall()
        rows.commit()
        return found


def changed(entries: dict[str, bytes], tmp_path: Path, *statements: str) -> dict[str, bytes]:
    """Return a backup's entries with another database."""
    (tmp_path / "changed").write_bytes(entries[DATABASE])
    for statement in statements:
        query(tmp_path / "changed", statement)
    return entries | {DATABASE: (tmp_path / "changed").read_bytes()}


def test_it_is_whole_and_of_its_own(
    backup: Path, folder: Path, run: Run, make_app: Callable[..., Flask], instance: Path, separator: FastSeparator,
    account: Account, tmp_path: Path,
) -> None:  # fmt: skip
    told = run("restore", str(backup), "--to", str(folder)).output.splitlines()
    assert told[0] == f"{folder}: 1 accounts, 3 jobs and 5 files"
    assert len(told) == 2 and f"EZSTEMS_INSTANCE={folder} " in told[1] and told[1].endswith("/ezstems serve")
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    packed = entries_of(backup)
    assert set(files) == set(packed)
    for name in set(files) - {DATABASE, ID}:
        assert files[name].read_bytes() == packed[name]
    assert {oct(path.stat().st_mode & 0o777) for path in files.values()} == {"0o600"}
    folders = (folder, folder / "uploads", folder / "results")
    assert {oct(path.stat().st_mode & 0o777) for path in folders} == {"0o700"}
    assert [*tmp_path.glob(".*")] == []

    # Restored twice, and unpacked by hand: each is an instance, no two of them are the same one.
    again = tmp_path / "again"
    run("restore", str(backup), "--to", str(again))
    by_hand = tmp_path / "by hand"
    by_hand.mkdir(mode=0o700)
    subprocess.run(["tar", "-xf", str(backup), "-C", str(by_hand)], check=True)
    places = (instance, folder, again, by_hand)
    ids = [(place / ID).read_text() for place in places]
    assert ids == [query(place / DATABASE, "SELECT id FROM instances")[0][0] for place in places]
    assert len({*ids}) == 4
    with pytest.raises(ConfigurationError, match="not one instance's"):
        make_app(instance=folder, database_url=f"sqlite:///{instance / DATABASE}")

    separator.release()
    for place in (folder, by_hand):
        restored = make_app(instance=place)
        restored.extensions["ezstems"].start()
        client = restored.test_client()
        for (job_id,) in query(place / DATABASE, "SELECT id FROM jobs"):
            for _ in range(2000):
                state = client.get(f"/api/v1/status.php?id={job_id}", headers=account.headers).json["data"]["status"]
                if state == "completed":
                    break
                restored.extensions["ezstems"]._stop.wait(0.01)
            answer = client.get(f"/api/v1/download.php?id={job_id}", headers=account.headers)
            assert (state, answer.status_code) == ("completed", 200)


def test_a_database_elsewhere_comes_home(
    run: Run, make_app: Callable[..., Flask], instance: Path, folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    elsewhere = tmp_path / "elsewhere.sqlite3"
    instance.mkdir()
    (instance / "config.py").write_text(f"EZSTEMS_DATABASE_URL = 'sqlite:///{elsewhere}'\nEZSTEMS_THREADS = 7")
    run("users", "add", "a@example.com", "--password", "a password")
    assert elsewhere.exists() and not (instance / DATABASE).exists()
    told = run("backup", str(tmp_path / "b.tar")).output
    assert f"the database {elsewhere} lies outside the instance folder" in told and "ezstems restore" in told
    before = elsewhere.read_bytes()

    # Unpacked by hand, it would use the other one's database: that is refused.
    by_hand = tmp_path / "by hand"
    by_hand.mkdir()
    subprocess.run(["tar", "-xf", str(tmp_path / "b.tar"), "-C", str(by_hand)], check=True)
    with pytest.raises(ConfigurationError, match="not one instance's"):
        make_app(instance=by_hand)

    told = run("restore", str(tmp_path / "b.tar"), "--to", str(folder)).output
    assert "its config.py named another database" in told
    assert (folder / "config.py").read_text().splitlines()[-1] == "EZSTEMS_DATABASE_URL = None"
    monkeypatch.setenv("EZSTEMS_INSTANCE", str(folder))
    app = make_app(instance=folder)
    assert app.config["EZSTEMS_THREADS"] == 7
    assert app.config["EZSTEMS_DATABASE_URL"].database == str(folder / DATABASE)
    assert "a@example.com" in run("users", "list").output
    assert elsewhere.read_bytes() == before

    # What the environment names goes before any line.
    monkeypatch.setenv("EZSTEMS_DATABASE_URL", f"sqlite:///{elsewhere}")
    told = run("restore", str(tmp_path / "b.tar"), "--to", str(tmp_path / "third")).output
    assert "EZSTEMS_DATABASE_URL is set here; unset it" in told
    monkeypatch.setenv("EZSTEMS_DATABASE_URL", "postgresql://someone:secret@host/name")
    told = run("restore", str(tmp_path / "b.tar"), "--to", str(tmp_path / "fourth"), code=1).output
    assert "names postgresql" in told and "secret" not in told and not (tmp_path / "fourth").exists()


def test_a_backup_of_before_the_ids(
    backup: Path, folder: Path, run: Run, make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    entries = changed(
        entries_of(backup), tmp_path, "DROP TABLE instances",
        *(f"DROP TABLE {name}" for name in NEWER_TABLES), *(f"DROP INDEX {name}" for name in NEWER_INDEXES),
        *(f"ALTER TABLE jobs DROP COLUMN {name}" for name in ("sha256", "result_bytes", "clipped", *NEWER)),
        "UPDATE alembic_version SET version_num = '0004'",
    )  # fmt: skip
    del entries[ID]
    (done,) = query(tmp_path / "changed", "SELECT filename FROM jobs WHERE status = 'completed'")[0]
    del entries[f"uploads/{done}"]  # then it went with its job's end
    run("restore", str(pack(tmp_path / "old.tar", entries)), "--to", str(folder))
    assert not (folder / ID).exists()
    make_app(instance=folder)
    assert [((folder / ID).read_text(),)] == query(folder / DATABASE, "SELECT id FROM instances")
    assert query(folder / DATABASE, "SELECT count(*), sum(keeps_upload) FROM jobs") == [(3, 0)]


def foreign(name: str, **attributes: Any) -> dict[str, tarfile.TarInfo]:
    entry = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(entry, attribute, value)
    return {name: entry}


@pytest.mark.parametrize(
    "more",
    [
        foreign("results/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        foreign("results/hard", type=tarfile.LNKTYPE, linkname="secret_key"),
        foreign("results/fifo", type=tarfile.FIFOTYPE),
        foreign("results", type=tarfile.DIRTYPE),
        foreign("../outside"), foreign("uploads/../../outside"), foreign("/etc/outside"), foreign("results/.."),
        foreign("results/a/b"), foreign("uploads//x"), foreign("./secret_key2"), foreign("models/x"),
        foreign("uploads/x.part"), foreign("workers/x.lock"), foreign("ezstems.sqlite3-wal"),
        foreign("instance_id.x.part"),
    ],
    ids=lambda more: next(iter(more)),
)  # fmt: skip
def test_what_backup_does_not_write_is_refused(
    backup: Path, folder: Path, run: Run, tmp_path: Path, more: dict[str, tarfile.TarInfo]
) -> None:
    packed = entries_of(backup)
    for entries in (packed | more, more | packed):
        refused(run, pack(tmp_path / "foreign.tar", entries), folder, "is nothing that `ezstems backup` writes")


def refused(run: Run, tar: Path, folder: Path, why: str, *options: str) -> None:
    """Restore what must be refused in a line, and leave nothing behind."""
    before = sorted(tar.parent.rglob("*"))
    told = run("restore", str(tar), "--to", str(folder), *options, code=1).output
    assert why in told and len(told.splitlines()) == 1 and "Traceback" not in told, told
    assert sorted(tar.parent.rglob("*")) == before


def test_one_that_is_cut_off_anywhere_is_refused(backup: Path, folder: Path, run: Run, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    with tarfile.open(backup) as packed:
        offsets = [entry.offset for entry in packed] + [entry.offset_data for entry in packed]
        offsets += [entry.offset_data + entry.size // 2 for entry in packed]
        last = max(entry.offset_data + entry.size for entry in packed)
    end = -(-last // 512) * 512
    for length in sorted({0, 1, 511, 513, last, end, end + 512, *offsets}):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        refused(run, tmp_path / "cut.tar", folder, "can't be restored: it is damaged")
    (tmp_path / "cut.tar").write_bytes(whole[: end + 1024])  # all but the padding
    run("restore", str(tmp_path / "cut.tar"), "--to", str(folder))


def test_other_files_are_refused(backup: Path, folder: Path, run: Run, tmp_path: Path, song: bytes) -> None:
    other = tmp_path / "other"
    for content in (song, b"", bytes(20_000), gzip.compress(backup.read_bytes()), os.urandom(20_000)):
        other.write_bytes(content)
        refused(run, other, folder, "can't be restored: ")
    refused(run, tmp_path / "nowhere.tar", folder, "No such file or directory")
    entries = entries_of(backup)
    for lacking in (DATABASE, ID):
        less = {name: content for name, content in entries.items() if name != lacking}
        refused(run, pack(other, less), folder, f"{lacking}")
    with tarfile.TarFile(other, "w") as twice:
        for _ in range(2):
            for name, content in entries.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                twice.addfile(entry, io.BytesIO(content))
    refused(run, other, folder, "is in it twice")


def test_a_database_that_is_no_good_is_refused(backup: Path, folder: Path, run: Run, tmp_path: Path) -> None:
    entries, tar = entries_of(backup), tmp_path / "bad.tar"
    good = entries[DATABASE]
    for bad in (b"", b"garbage" * 1000, good[: len(good) // 2], good[:30_000] + bytes(8000) + good[38_000:]):
        refused(run, pack(tar, entries | {DATABASE: bad}), folder, "its database is damaged")
    for statements, why in {
        ("UPDATE alembic_version SET version_num = '9999'",): "of a newer version of EzStems, or damaged",
        ("DELETE FROM alembic_version",): "of a newer version of EzStems, or damaged",
        ("DROP TABLE jobs",): "damaged, or not one of EzStems",
        ("DELETE FROM instances",): "don't belong together",
        ("INSERT INTO instances VALUES ('x', NULL)",): "don't belong together",
    }.items():
        refused(run, pack(tar, changed(entries, tmp_path, *statements)), folder, why)
        (tmp_path / "changed").unlink()


def test_what_rows_need_must_be_there(
    backup: Path, folder: Path, run: Run, done: Callable[..., Job], instance: Path, tmp_path: Path
) -> None:
    entries, tar = entries_of(backup), tmp_path / "lacking.tar"
    (result,) = [name for name in entries if name.endswith(".zip")]
    uploads = [name for name in entries if name.startswith("uploads/")]
    less = {name: content for name, content in entries.items() if name != result}
    refused(run, pack(tar, less), folder, f"1 files that its rows speak of are not in it, or not whole, {result}")
    less = entries | {uploads[0]: entries[uploads[0]][:-1]}
    refused(run, pack(tar, less), folder, f"1 files that its rows speak of are not in it, or not whole, {uploads[0]}")
    less = {name: content for name, content in entries.items() if name not in (result, *uploads)}
    refused(run, pack(tar, less), folder, "4 files that its rows speak of")
    told = run("restore", str(tar), "--to", str(folder), "--incomplete").output
    assert told.startswith(f"{folder}: 1 accounts, 3 jobs and 1 files\n"), "the peaks are left"
    # Neither peaks nor the upload of a job that failed are needed; the backup itself tells of what is.
    (instance / result).unlink()
    told = run("backup", str(tmp_path / "less.tar")).output
    assert ": 2 jobs with their files" in told and "1 jobs have lost their files before" in told


@pytest.mark.parametrize("there", ["file", "folder with a file", "link to nowhere"])
def test_it_never_writes_over_anything(backup: Path, folder: Path, run: Run, there: str) -> None:
    if there == "file":
        folder.write_bytes(b"mine")
    elif there == "link to nowhere":
        folder.symlink_to("nowhere/x")
    else:
        folder.mkdir()
        (folder / "mine").touch()
    before = sorted(folder.parent.rglob("*"))
    told = run("restore", str(backup), "--to", str(folder), code=1 if there != "file" else 2).output
    assert "Traceback" not in told
    assert sorted(folder.parent.rglob("*")) == before


def test_an_empty_folder_keeps_its_owner(
    backup: Path, folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        pytest.skip("giving files away needs root")
    folder.mkdir()
    os.chown(folder, 1234, 1235)
    run("restore", str(backup), "--to", str(folder))
    parent = tmp_path / "of a service"
    parent.mkdir()
    os.chown(parent, 1236, 1237)
    monkeypatch.chdir(parent)
    run("restore", str(backup), "--to", "restored")
    for place, owner in ((folder, (1234, 1235)), (parent / "restored", (1236, 1237))):
        assert {(path.stat().st_uid, path.stat().st_gid) for path in (place, *place.rglob("*"))} == {owner}


def test_a_disk_without_room_is_told_before(
    backup: Path, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder.parent)
    monkeypatch.setattr("ezstems.jobs.restore.shutil.disk_usage", lambda _folder: usage._replace(free=15 << 20))
    refused(run, backup, folder, "it takes 16 MiB of the 15 MiB that are free in")


def test_a_disk_that_fills_up_leaves_nothing(
    backup: Path, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("ezstems.jobs.restore.shutil.copyfileobj", full)
    refused(run, backup, folder, f"{folder}: No space left on device")


def restore_until(step: int, backup: Path, folder: Path) -> None:
    """Restore in this process; be killed before a step."""
    steps = 0

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def step_by_step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1
            return act(*arguments, **options)

        return step_by_step

    for place, name in ((restores, "_extract"), (restores, "_check"), (restores, "give_new_id"), (restores, "sync"),
                        (Path, "mkdir"), (Path, "rename")):  # fmt: skip
        setattr(place, name, counted(getattr(place, name)))
    restores.restore(backup, folder)
    os._exit(0)


def test_one_killed_at_any_step_leaves_nothing_that_looks_whole(backup: Path, folder: Path, tmp_path: Path) -> None:
    step, renamed, names = 0, 0, {*entries_of(backup)}
    while True:
        process = FORKS.Process(target=restore_until, args=(step, backup, folder))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        if folder.exists():  # the names of its parent alone were still to be synced
            renamed += 1
            assert names == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
            shutil.rmtree(folder)
        step += 1
    assert step > 15 and renamed == 1
    assert [*tmp_path.glob(".*")] == [] and (folder / DATABASE).exists()


def test_it_holds_no_file_in_memory(backup: Path, folder: Path, tmp_path: Path) -> None:
    entries = entries_of(backup)
    result = next(name for name in entries if name.endswith(".zip"))
    big = pack(tmp_path / "big.tar", entries | {result: bytes(64 << 20)})
    entries.clear()
    tracemalloc.start()
    restores.restore(big, folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20 and (folder / result).stat().st_size == 64 << 20
