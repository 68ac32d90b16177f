"""Restore a backup into an instance folder: checked before it is written, there as a whole or not at all."""

import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from alembic.util import CommandError

from ezstems.database import MIGRATIONS
from ezstems.errors import EzStemsError
from ezstems.files import sync
from ezstems.jobs.archive import RESULTS, UPLOADS
from ezstems.jobs.backup import COPY_BYTES, DATABASE, folder_beside, give_new_id
from ezstems.jobs.names import is_finished_name
from ezstems.models import COMPLETED, FAILED
from ezstems.models.instance import ID_FILE

CONFIG = "config.py"
KNOWN = (DATABASE, ID_FILE, "secret_key", CONFIG)
# What a tar ends with; one that was cut off between two files lacks it.
END = bytes(2 * tarfile.BLOCKSIZE)
# What the database takes beside itself while it is checked, and at the first start.
SPARE_BYTES = 16 << 20
USE_RESTORED_DATABASE = """
# Restored: the database is the one in this folder, whatever is named above.
EZSTEMS_DATABASE_URL = None
"""


class BadBackup(EzStemsError):
    """Say why a file can't be restored."""


@dataclass(frozen=True)
class Restored:
    """Count what was restored."""

    accounts: int
    jobs: int
    files: int
    is_config_changed: bool


def restore(file: Path, folder: Path, *, incomplete: bool = False) -> Restored:
    """Make a folder, which must not be there or be empty, the instance that a backup holds.

    Raises:
        BadBackup: the file is no backup, or not a whole one, or the folder can't be made of it.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise BadBackup(f"{folder} is there already and no empty folder")
    if folder.is_mount():
        raise BadBackup(f"{folder} is a disk's root; name a folder on it")
    with _opened(file) as tar, folder_beside(folder) as part:
        entries = _entries(tar, file)
        needed, free = sum(entry.size for entry in entries.values()) + SPARE_BYTES, shutil.disk_usage(part).free
        if needed > free:
            raise BadBackup(f"it takes {needed >> 20} MiB of the {free >> 20} MiB that are free in {folder.parent}")
        made = part / "instance"
        for path in (made, made / UPLOADS, made / RESULTS):
            path.mkdir(mode=0o700)
        _extract(tar, entries.pop(DATABASE), made)
        accounts, jobs, is_bound = _check(made / DATABASE, entries, incomplete)
        for entry in entries.values():
            _extract(tar, entry, made)
        if is_bound:
            (made / ID_FILE).write_text(give_new_id(made / DATABASE))  # the same backup may be restored twice
            sync(made / ID_FILE)
        is_config_changed = _use_restored_database(made / CONFIG)
        _hand_over(made, folder if folder.exists() else folder.parent)
        for path in (made / UPLOADS, made / RESULTS, made):
            sync(path)
        made.rename(folder)
        sync(folder.parent)
    return Restored(accounts, jobs, sum(map(is_finished_name, entries)), is_config_changed)


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    """Lend the tar; raise BadBackup where it turns out to be none, or damaged."""
    try:
        with tarfile.TarFile(file) as tar:
            yield tar
    except tarfile.TarError as error:
        raise BadBackup("it is damaged, cut off, or no tar that `ezstems backup` wrote") from error


def _entries(tar: tarfile.TarFile, file: Path) -> dict[str, tarfile.TarInfo]:
    """Return the entries by name, from their headers alone; refuse what `ezstems backup` doesn't write."""
    entries: dict[str, tarfile.TarInfo] = {}
    end = 0
    for entry in tar:
        if not entry.isreg() or entry.issparse() or not (entry.name in KNOWN or is_finished_name(entry.name)):
            raise BadBackup(f"{entry.name!r} is nothing that `ezstems backup` writes")
        if entry.name in entries:
            raise BadBackup(f"{entry.name!r} is in it twice")
        entries[entry.name] = entry
        end = entry.offset_data + -(-entry.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    with file.open("rb") as raw:
        raw.seek(end)
        if raw.read(len(END)) != END:
            raise BadBackup("it is damaged or cut off")
    if DATABASE not in entries:
        raise BadBackup(f"{DATABASE} is not in it")
    return entries


def _extract(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    descriptor = os.open(folder / entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target, tar.extractfile(entry) as source:  # type: ignore[union-attr]
        shutil.copyfileobj(source, target, COPY_BYTES)
        target.flush()
        os.fsync(descriptor)
    os.utime(folder / entry.name, (entry.mtime, entry.mtime))


def _check(database: Path, entries: dict[str, tarfile.TarInfo], incomplete: bool) -> tuple[int, int, bool]:
    """Check the database and the files that its rows need; return its accounts, its jobs, and whether it has an id."""
    try:
        with closing(sqlite3.connect(database)) as rows:
            if rows.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                raise BadBackup("its database is damaged")
            _require_known(rows.execute("SELECT version_num FROM alembic_version").fetchall())
            accounts = rows.execute("SELECT count(*) FROM users").fetchone()[0]
            jobs = rows.execute("SELECT count(*) FROM jobs").fetchone()[0]
            tables = rows.execute("SELECT name FROM sqlite_master WHERE name = 'instances'").fetchall()
            ids = [row[0] for row in rows.execute("SELECT id FROM instances")] if tables else []
            lacking = list(_lacking(rows, entries))
    except sqlite3.Error as error:
        raise BadBackup("its database is damaged, or not one of EzStems") from error
    if len(ids) > 1 or bool(ids) != (ID_FILE in entries):
        raise BadBackup(f"its database and its {ID_FILE} don't belong together")
    if lacking and not incomplete:
        which = f"{len(lacking)} files that its rows speak of are not in it, or not whole, {lacking[0]} for one"
        raise BadBackup(f"{which}; --incomplete restores the others")
    return accounts, jobs, bool(ids)


def _require_known(versions: list[tuple[str]]) -> None:
    try:
        found = [ScriptDirectory(MIGRATIONS).get_revision(version) for (version,) in versions]
    except CommandError:
        found = []
    if len(found) != 1:
        remedy = "restore with the version that wrote it"
        raise BadBackup(f"its database is of a newer version of EzStems, or damaged; {remedy}")


def _lacking(rows: sqlite3.Connection, entries: dict[str, tarfile.TarInfo]) -> Iterator[str]:
    """Yield the files that rows need and the tar lacks, or holds in another size."""
    # Before there was this column, no completed job kept its upload.
    columns = {row[1] for row in rows.execute("PRAGMA table_info(jobs)")}
    keeps = "keeps_upload" if "keeps_upload" in columns else "0"
    query = f"SELECT id, filename, size_bytes, status, {keeps} FROM jobs WHERE expired_at IS NULL AND status != ?"
    for job_id, filename, size_bytes, status, keeps_upload in rows.execute(query, (FAILED,)):
        result, upload = f"{RESULTS}/{job_id}.zip", f"{UPLOADS}/{filename}"
        if status == COMPLETED and result not in entries:
            yield result
        if (status != COMPLETED or keeps_upload) and (upload not in entries or entries[upload].size != size_bytes):
            yield upload


def _use_restored_database(config: Path) -> bool:
    """Override the database that a `config.py` names, so that the restored one is used; tell whether it named one."""
    if not config.exists() or b"DATABASE_URL" not in config.read_bytes():
        return False
    with config.open("a") as lines:
        lines.write(USE_RESTORED_DATABASE)
        lines.flush()
        os.fsync(lines.fileno())
    return True


def _hand_over(made: Path, whose: Path) -> None:
    """Give all files to the owner of a folder, where root restores for a service's user."""
    if os.geteuid() == 0:
        owner = whose.stat()
        for path in (made, *made.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
