"""A backup of a live instance: one tar, in which rows and files belong together and nothing is half there."""

import sqlite3
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select

from ezstems.audio.files import sync
from ezstems.database import db
from ezstems.jobs.archive import Archive
from ezstems.jobs.recovery import Life
from ezstems.models import COMPLETED, PROCESSING, QUEUED, Job

DATABASE = "ezstems.sqlite3"
COPY_BYTES = 1 << 20


def write(target: Path, instance: Path) -> int:
    """Write a backup of an instance folder; return how many jobs are in it with their files."""
    with TemporaryDirectory(dir=target.parent, prefix=".ezstems-backup-") as folder, _links(instance) as archive:
        database, tar = Path(folder) / DATABASE, Path(folder) / "tar"
        jobs, held = _freeze(archive, database)
        files = [(database, DATABASE), *((link, str(path.relative_to(instance))) for link, path in held)]
        files += [(path, path.name) for name in ("secret_key", "config.py") if (path := instance / name).exists()]
        tar.touch(0o600)
        with tarfile.TarFile(tar, "w", copybufsize=COPY_BYTES) as packed:
            for source, name in files:
                packed.add(source, name, filter=_private)
        sync(tar)
        tar.replace(target)
        sync(target.parent)
    return jobs


@contextmanager
def _links(instance: Path) -> Iterator[Archive]:
    """Lend an archive for links to files; they go in the end, or with whichever worker finds this process dead."""
    owner = f"backup-{uuid.uuid4().hex}"
    archive, life = Archive(instance, owner), Life(instance, owner)
    life.begin()
    try:
        yield archive
    finally:
        archive.clean(owner)
        life.end()


def _freeze(archive: Archive, snapshot: Path) -> tuple[int, list[tuple[Path, Path]]]:
    """Copy the database and link the files of its jobs at one moment; return the jobs' count, links and files."""
    snapshot.touch(0o600)
    held: list[tuple[Path, Path]] = []
    jobs = 0
    with db.engine.connect() as lock, closing(sqlite3.connect(snapshot)) as copy:
        # No job begins, ends or goes while this is held, and so no file that a row speaks of.
        lock.exec_driver_sql("BEGIN IMMEDIATE")
        kept = select(Job.id, Job.filename, Job.status).where(Job.expired_at.is_(None))
        for job_id, filename, status in lock.execute(kept):
            done = (archive.peaks(job_id), archive.result(job_id))
            links = []
            for path in done if status == COMPLETED else (archive.source(filename),):
                with suppress(FileNotFoundError):  # a failed job's upload, or the peaks of an old one
                    links.append((archive.hold(path), path))
            held += links
            jobs += bool(links)
        source = db.engine.raw_connection()
        try:
            source.driver_connection.backup(copy)  # type: ignore[union-attr]
        finally:
            source.close()
        lock.rollback()
        copy.execute("PRAGMA journal_mode=DELETE")  # one file
        # What runs now begins anew there, and nobody's crash has stopped it.
        copy.execute(
            "UPDATE jobs SET status = ?, owner = NULL, progress = 0, started_at = NULL WHERE status IN (?, ?)",
            (QUEUED, QUEUED, PROCESSING),
        )
        copy.commit()
    return jobs, held


def _private(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o600, 0, 0, "", ""
    return entry
