"""Back up a live instance into one tar, in which rows and files match and nothing is half-written."""

import fcntl
import os
import shutil
import sqlite3
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import select

from ezstems.database import db
from ezstems.errors import ServerFull
from ezstems.files import sync
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.recovery import WorkerLock
from ezstems.models import COMPLETED, FAILED, PROCESSING, QUEUED, Job
from ezstems.models.instance import ID_FILE

DATABASE = "ezstems.sqlite3"
COPY_BYTES = 1 << 20


def write(target: Path, instance: Path, min_free_bytes: int) -> tuple[int, int]:
    """Write a backup of an instance folder; return how many jobs are in it with their files, how many lack theirs.

    Raises:
        ServerFull: it would leave less than the least free space.
    """
    with folder_beside(target) as folder, _archive_of_links(instance) as archive:
        database, id_file, tar = folder / DATABASE, folder / ID_FILE, folder / "tar"
        jobs, lacking, held = _snapshot(archive, database)
        # An id of its own: unpacked, it is whole, and belongs to no other folder or database.
        id_file.write_text(give_new_id(database))
        files = [(database, DATABASE), (id_file, ID_FILE)]
        files += [(link, str(path.relative_to(instance))) for link, path in held]
        files += [(path, path.name) for name in ("secret_key", "config.py") if (path := instance / name).exists()]
        _require_room(target, sum(path.stat().st_size for path, _ in files), min_free_bytes)
        tar.touch(0o600)
        # What a link leads to, not the link: a key may lie elsewhere.
        with tarfile.TarFile(tar, "w", dereference=True, copybufsize=COPY_BYTES) as packed:
            for source, name in files:
                packed.add(source, name, filter=_private)
        sync(tar)
        tar.replace(target)
        sync(target.parent)
    return jobs, lacking


def give_new_id(database: Path) -> str:
    """Give a copied database, which nobody has open, a new id; return it."""
    new = uuid.uuid4().hex
    with closing(sqlite3.connect(database)) as copy:
        copy.execute("UPDATE instances SET id = ?", (new,))
        copy.commit()
    return new


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Lend an empty folder beside the target, under a fixed name: the next one deletes what a killed one left."""
    folder = target.with_name(f".{target.name}.part")
    parent = os.open(target.parent, os.O_RDONLY)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)  # two backups into one folder wait for each other
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(parent)


def _require_room(target: Path, needed_bytes: int, min_free_bytes: int) -> None:
    free_bytes = shutil.disk_usage(target.parent).free
    if free_bytes - needed_bytes < min_free_bytes:
        needed, free, rest = (count >> 20 for count in (needed_bytes, free_bytes, min_free_bytes))
        sizes = f"would take {needed} MiB of the {free} MiB that are free there"
        raise ServerFull(f"{target} {sizes}, and EZSTEMS_MIN_FREE_MB={rest} must remain")


@contextmanager
def _archive_of_links(instance: Path) -> Iterator[FolderArchive]:
    """Lend an archive for links; they are deleted in the end, or by the worker that finds this process dead."""
    owner = f"backup-{uuid.uuid4().hex}"
    archive, lock = FolderArchive(instance, owner), WorkerLock(instance, owner)
    lock.acquire()
    try:
        yield archive
    finally:
        archive.remove_unfinished(owner)
        lock.remove()


def _snapshot(archive: FolderArchive, snapshot: Path) -> tuple[int, int, list[tuple[Path, Path]]]:
    """Copy the database and link the files of its jobs at one moment.

    Return how many jobs have files, how many lack the one they need, and the links with their files.
    """
    snapshot.touch(0o600)
    held: list[tuple[Path, Path]] = []
    jobs = lacking = 0
    with db.engine.connect() as lock, closing(sqlite3.connect(snapshot)) as copy:
        # While this is held, no job begins, ends or is deleted, nor any file that a row names.
        lock.exec_driver_sql("BEGIN IMMEDIATE")
        kept = select(Job.id, Job.filename, Job.status, Job.keeps_upload).where(Job.expired_at.is_(None))
        for job_id, filename, status, keeps_upload in lock.execute(kept):
            done = [archive.peaks(job_id), archive.result(job_id)] if status == COMPLETED else []
            upload = [archive.source(filename)] if keeps_upload or not done else []
            links = []
            for path in (*done, *upload):
                with suppress(FileNotFoundError):  # a failed job's upload, or the peaks of an old one
                    links.append((archive.link(path), path))
            held += links
            is_whole = {*done[1:], *upload}.issubset(path for _, path in links)
            jobs += is_whole
            lacking += not is_whole and status != FAILED
        source = db.engine.raw_connection()
        try:
            source.driver_connection.backup(copy)  # type: ignore[union-attr]
        finally:
            source.close()
        lock.rollback()
        copy.execute("PRAGMA journal_mode=DELETE")  # one file
        # What runs now begins anew in the copy; no crash has stopped it.
        copy.execute(
            "UPDATE jobs SET status = ?, owner = NULL, progress = 0, started_at = NULL WHERE status IN (?, ?)",
            (QUEUED, QUEUED, PROCESSING),
        )
        copy.commit()
    return jobs, lacking, held


def _private(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o600, 0, 0, "", ""
    return entry
