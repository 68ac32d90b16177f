"""A backup of a running server, unpacked elsewhere, is a whole instance: nothing lost, nothing half there."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from threading import Event, Thread

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.audio.separate import STEMS
from ezstems.database import db
from ezstems.errors import ServerFull
from ezstems.jobs import backup as backups
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.outcome import BROKEN
from ezstems.models import Job
from tests.conftest import Account
from tests.support.callers import Caller
from tests.support.separators import FastSeparator
from tests.support.servers import Server

Run = Callable[..., Result]


@pytest.fixture
def server(instance: Path) -> Iterator[Server]:
    with Server(instance, workers=2, FAST_SECONDS=0.05) as running:
        yield running


def unpacked(tar: Path, folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    subprocess.run(["tar", "-xf", str(tar), "-C", str(folder)], check=True)
    return folder


def test_a_backup_while_jobs_come_and_go(server: Server, song: bytes, tmp_path: Path) -> None:
    caller = Caller(server, server.key())
    first = caller.upload(song)["id"]
    caller.wait(first)
    ids, enough = [first], Event()

    def keep_uploading() -> None:
        while not enough.is_set():
            ids.append(caller.upload(song, stems=4)["id"])
            enough.wait(0.2)

    uploading = Thread(target=keep_uploading)
    uploading.start()
    try:
        tars = []
        for number in range(2):
            seen = len(ids)
            tars.append((tmp_path / f"{number}.tar", set(ids[:seen])))
            server.command("backup", str(tars[-1][0]))
            while len(ids) < seen + 2:
                assert uploading.is_alive()
                enough.wait(0.01)
    finally:
        enough.set()
        uploading.join()
    for job_id in ids:
        caller.wait(job_id)  # the server itself went on
    assert server.parts() == []
    server.stop()

    for tar, accepted in tars:
        assert oct(tar.stat().st_mode & 0o777) == "0o600"
        assert not (tar.parent / f".{tar.name}.part").exists()
        folder = unpacked(tar, tmp_path / f"restored-{tar.stem}")
        with closing(sqlite3.connect(folder / "ezstems.sqlite3")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if tar is not tars[-1][0]:
            continue  # a start takes seconds
        with Server(folder) as restored:
            again = Caller(restored, "")
            again.headers = caller.headers  # the key of before
            held = {row["id"] for row in restored.rows("SELECT id FROM jobs")}
            assert accepted <= held <= set(ids)
            for job_id in held:
                assert again.wait(job_id, "completed", "failed")["status"] == "completed"
                with zipfile.ZipFile(BytesIO(again.get("download.php", id=job_id).content)) as packed:
                    assert packed.testzip() is None
                    assert len(packed.namelist()) == len(STEMS[int(job_id[-1])])
            assert {row["crashes"] for row in restored.rows("SELECT crashes FROM jobs")} == {0}
            assert restored.uploads() == restored.kept_uploads() and len(restored.uploads()) == len(held)
            assert {path.stem for path in (folder / "results").iterdir()} == held


def test_every_state_outlasts_it(
    run: Run,
    app: Flask,
    make_app: Callable[..., Flask],
    instance: Path,
    separator: FastSeparator,
    upload: Callable[..., TestResponse],
    finished: Callable[[str], Job],
    done: Callable[..., Job],
    account: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    completed = done().id
    expired = done().id
    run("jobs", "delete", expired)
    separator.error = ValueError()
    failed = upload().json["data"]["id"]
    finished(failed)
    separator.error = None
    separator.hold()
    separator.started.clear()
    running, queued = (upload().json["data"]["id"] for _ in range(2))
    assert separator.started.wait(60)
    (tmp_path / "elsewhere.py").write_text("EZSTEMS_THREADS = 7\n")
    (instance / "config.py").symlink_to(tmp_path / "elsewhere.py")
    tar = tmp_path / "backup.tar"
    tar.write_bytes(b"an older one")
    assert run("backup", str(tar)).output.startswith(f"{tar}: 4 jobs with their files, ")
    with tarfile.open(tar) as packed:
        entries = {entry.name: entry for entry in packed}
    assert {entry.mode for entry in entries.values()} == {0o600}
    found = {f"results/{completed}.zip", f"results/{completed}.peaks"}
    found |= {str(path.relative_to(instance)) for path in (instance / "uploads").iterdir()}
    assert len(found) == 6 and set(entries) == found | {"ezstems.sqlite3", "instance_id", "secret_key", "config.py"}

    folder = unpacked(tar, tmp_path / "restored")
    for file in folder.rglob("*"):
        assert file.is_dir() or (file.is_file() and not file.is_symlink() and file.stat().st_nlink == 1)
    assert (folder / "config.py").read_text() == "EZSTEMS_THREADS = 7\n"
    assert (folder / "secret_key").read_bytes() == (instance / "secret_key").read_bytes()
    separator.release()
    restored = make_app(instance=folder)
    client = restored.test_client()
    restored.extensions["ezstems"].start()

    def status(job_id: str) -> dict[str, object]:
        answer = client.get(f"/api/v1/status.php?id={job_id}", headers=account.headers)
        return answer.json.get("data") or answer.json

    monkeypatch.setenv("EZSTEMS_INSTANCE", str(folder))
    with restored.app_context():
        assert set(db.session.scalars(select(Job.crashes))) == {0}
    assert status(completed)["status"] == "completed"
    assert status(expired)["error"] == "Not found"
    assert status(failed)["error"] == BROKEN
    run("jobs", "retry", failed)
    for job_id in (running, queued, failed):
        deadline = time.monotonic() + 60
        while (state := status(job_id)["status"]) != "completed":
            assert state != "failed" and time.monotonic() < deadline, (job_id, state)
            time.sleep(0.05)
        assert client.get(f"/api/v1/download.php?id={job_id}", headers=account.headers).status_code == 200


def test_files_that_go_meanwhile_are_in_it(
    run: Run, done: Callable[..., Job], instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = done().id
    snapshot_of, link, held = backups._snapshot, FolderArchive.link, []

    def while_nothing_can_change(archive: FolderArchive, path: Path) -> Path:
        with closing(sqlite3.connect(instance / "ezstems.sqlite3", timeout=0)) as other:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            assert other.execute("SELECT status FROM jobs").fetchall() == [("completed",)]  # readers don't wait
        held.append(path.suffix)
        return link(archive, path)

    def then_deleted(archive: FolderArchive, snapshot: Path) -> tuple[int, int, list[tuple[Path, Path]]]:
        taken = snapshot_of(archive, snapshot)
        run("jobs", "delete", job_id)
        return taken

    monkeypatch.setattr(backups, "_snapshot", then_deleted)
    monkeypatch.setattr(FolderArchive, "link", while_nothing_can_change)
    run("backup", str(tmp_path / "backup.tar"))
    assert held == [".peaks", ".zip", ".wav"]
    assert not (instance / "results" / f"{job_id}.zip").exists()
    with zipfile.ZipFile(unpacked(tmp_path / "backup.tar", tmp_path / "restored") / "results" / f"{job_id}.zip") as z:
        assert z.testzip() is None
    assert not [*instance.rglob("backup-*.part")]


def test_one_that_fails_leaves_the_older_file_and_nothing_else(
    run: Run, done: Callable[..., Job], instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done()
    tar = tmp_path / "backups" / "backup.tar"
    tar.parent.mkdir()
    tar.write_bytes(b"the older one")

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr("tarfile.TarFile.add", full)
        assert "could not be written: No space left on device" in run("backup", str(tar), code=1).output
    assert tar.read_bytes() == b"the older one" and list(tar.parent.iterdir()) == [tar]
    assert not [*instance.rglob("backup-*.part")]
    told = run("backup", str(tmp_path / "nowhere" / "backup.tar"), code=1).output
    assert f"nowhere/backup.tar could not be written: {tmp_path / 'nowhere'}: No such file or directory" in told


def test_one_for_which_there_is_no_room_is_not_begun(
    run: Run, done: Callable[..., Job], instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done()
    tar, usage = tmp_path / "backup.tar", shutil.disk_usage(tmp_path)
    sizes = sum(path.stat().st_size for path in (instance / "results").iterdir())
    full = usage._replace(free=(512 << 20) + sizes)  # there is a database, too
    monkeypatch.setattr("ezstems.jobs.backup.shutil.disk_usage", lambda _folder: full)
    with pytest.raises(ServerFull, match=r"backup\.tar would take 0 MiB of the 512 MiB .*_MB=512 must remain"):
        raise run("backup", str(tar), code=1).exception  # type: ignore[misc]
    assert [*tmp_path.iterdir()] == [instance] and not [*instance.rglob("backup-*")]
    full = usage._replace(free=(513 << 20) + sizes)
    run("backup", str(tar))


def test_one_that_is_stopped_leaves_nothing(
    run: Run, done: Callable[..., Job], instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_arguments: object, **_options: object) -> None:
        # As the signal does, which itself could not be taken here: where a network has used the processor's matrix
        # registers, its frame is too large for the stack that pytest's faulthandler sets aside for signals.
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        handler(signal.SIGTERM, None)

    done()
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        monkeypatch.setattr("tarfile.TarFile.add", stop)
        run("backup", str(tmp_path / "backup.tar"), code=128 + signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [*tmp_path.iterdir()] == [instance] and not [*instance.rglob("backup-*")]


def test_a_database_that_is_never_free_is_told_in_a_line(
    run: Run, app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_arguments: object) -> None:
        raise OperationalError("BEGIN IMMEDIATE", {}, sqlite3.OperationalError("database is locked"))

    monkeypatch.setattr(backups, "_snapshot", locked)
    told = run("backup", str(tmp_path / "backup.tar"), code=1).output
    assert told.endswith("backup.tar could not be written: database is locked\n")


def test_two_into_the_same_file_take_turns(tmp_path: Path) -> None:
    target, entered, second = tmp_path / "backup.tar", [], Event()

    def enter() -> None:
        second.set()
        with backups.folder_beside(target) as folder:
            entered.append(sorted(folder.iterdir()))

    other = Thread(target=enter)
    with backups.folder_beside(target) as folder:
        (folder / "tar").touch()
        other.start()
        assert second.wait(60)
        other.join(0.1)
        assert (folder / "tar").exists() and entered == []
    other.join(60)
    assert entered == [[]] and [*tmp_path.iterdir()] == []


def test_what_a_killed_one_leaves_goes_with_the_next_worker_and_the_next_backup(
    run: Run, done: Callable[..., Job], app: Flask, instance: Path, tmp_path: Path, no_housekeeping: None
) -> None:
    done()
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from ezstems import create_app; from ezstems.jobs import backup;"
        "snapshot = backup._snapshot;"
        "backup._snapshot = lambda *arguments: (snapshot(*arguments), os.kill(os.getpid(), signal.SIGKILL));"
        "app = create_app(); app.app_context().push(); backup.write(Path(sys.argv[1]), Path(app.instance_path), 0)"
    )
    environ = os.environ | {"EZSTEMS_INSTANCE": str(instance)}
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "backup.tar")], env=environ, timeout=60)
    assert killed.returncode == -9
    assert len([*instance.rglob("backup-*.part")]) == 3
    with app.app_context():
        app.extensions["ezstems"].dispatch._sync_queue()
    assert not [*instance.rglob("backup-*")]
    assert [*(tmp_path / ".backup.tar.part").iterdir()] == [tmp_path / ".backup.tar.part" / "ezstems.sqlite3"]
    run("backup", str(tmp_path / "backup.tar"))
    assert {*tmp_path.iterdir()} == {instance, tmp_path / "backup.tar"}
    assert not [*instance.rglob("backup-*")], "no lock stays, which a server of another user could not open"
