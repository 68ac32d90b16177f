"""The watch over the database's files: an operator may replace or delete them while this process has them open.

SQLite would go on writing to a file that nobody finds again, and say nothing. It deletes its `-wal` and `-shm` itself,
but only as the last connection of all processes closes: while this process has one, they stay as the database does.
"""

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from ezstems.errors import DatabaseLost

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 60
LOST = "The server's database was replaced or deleted while it ran. Its operator must restart the server."
FileIdentity = tuple[int, ...]


class DatabaseWatch:
    """Remember which files lie at some paths, and notice when others do, or none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[Path, FileIdentity] = {}
        self._id_file: Path | None = None
        self._id: str | None = None
        self._wrong_ids: Sequence[str] | None = None
        self._database: Path | None = None
        self._companions: dict[Path, FileIdentity | None] = {}
        self._connections = 0
        self._reported: str | None = None

    def watch_id(self, id_file: Path | None, instance_id: str) -> None:
        """Watch the instance's id, and its file, which nobody writes to, where it has one."""
        with self._lock:
            if id_file is not None:
                self._files[id_file] = _identity(id_file, with_time=True) or ()
            self._id_file, self._id = id_file, instance_id

    def opened(self, database: Path) -> None:
        """Count a connection more that SQLite has to the file at a path."""
        with self._lock:
            self._connections += 1
            if self._connections == 1:
                real = os.path.realpath(database)  # where SQLite puts its other files, too
                self._companions = {path: _identity(path) for path in (Path(f"{real}-wal"), Path(f"{real}-shm"))}
            self._database = database
            self._files.setdefault(database, _identity(database) or ())

    def closed(self) -> None:
        """Count a connection less; the last of all deletes `-wal` and `-shm`."""
        with self._lock:
            self._connections -= 1
            if self._connections == 0:
                self._companions = {}

    def check_ids(self, ids: Sequence[str]) -> bool:
        """Tell whether the database still holds the id that it had: another folder may have been bound to it."""
        with self._lock:
            self._wrong_ids = None if list(ids) == [self._id] else ids
        return not self.is_lost()

    def is_lost(self) -> bool:
        """Tell whether this process has other files open than lie on the disk; log the change once."""
        with self._lock:
            why, before = self._reason(), self._reported
            self._reported = why
        if why and not before:
            log.error("%s; nothing more is accepted or begun: put it back, or restart the server", why)
        elif before and not why:
            log.warning("the database that this process has open is back in its place")
        return why is not None

    def require(self) -> None:
        """Raise DatabaseLost where a write would be lost."""
        if self.is_lost():
            raise DatabaseLost(LOST, RETRY_AFTER_SECONDS)

    def _reason(self) -> str | None:
        for path, opened in self._files.items():
            now = _identity(path, with_time=path == self._id_file)
            if now != opened and not self._is_touched(path, now, opened):
                return _describe(path, now)
        for path, opened_then in self._companions.items():
            now = _identity(path)
            if opened_then is None:
                self._companions[path] = now  # a new database gets them with its first table
            elif now != opened_then:
                return _describe(path, now)
        if self._wrong_ids is not None:
            held = ", ".join(self._wrong_ids) or "none"
            return f"the database was bound to another folder, or overwritten: its id is {held}, not {self._id}"
        return None

    def _is_touched(self, path: Path, now: FileIdentity | None, opened: FileIdentity) -> bool:
        """Tell whether the id's file has another time and nothing else; remember the new time then."""
        if path != self._id_file or now is None or now[:-1] != opened[:-1] or _text(path) != self._id:
            return False
        self._files[path] = now
        return True


def _stat(path: Path) -> os.stat_result:
    return path.stat()


def _describe(path: Path, now: FileIdentity | None) -> str:
    return f"{path} was {'replaced' if now else 'deleted, or put out of reach,'} while it was in use"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _identity(path: Path, with_time: bool = False) -> FileIdentity | None:
    """Return what identifies the file at a path; None where there is none.

    No other file gets the inode of one that is open; a closed one is identified by its time, too.
    """
    try:
        found = _stat(path)
    except OSError:  # or it can't be reached: its folder is closed, its disk is gone
        return None
    return (found.st_dev, found.st_ino, *((int(found.st_mtime),) if with_time else ()))
