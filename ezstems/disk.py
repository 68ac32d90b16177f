"""Disks that are full or can't be written to: tell such errors, raise ServerFull for them, keep a reserve."""

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.exc import OperationalError

from ezstems.errors import ServerFull

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 600
# EFBIG: the limit that the service's own manager sets to its files.
_FULL_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# SQLite's own words (SQLITE_FULL); the error's code reaches Python only from 3.11 on.
_SQLITE_FULL_WORDS = "disk is full"
_POSTGRESQL_FULL = "53100"  # SQLSTATE
# What a file system answers after an error of the disk, when the kernel has made it read-only; and SQLite's words.
_UNWRITABLE_CODES = (errno.EROFS, errno.EIO)
_SQLITE_UNWRITABLE_WORDS = ("disk I/O error", "readonly database")
# What SQLite takes to open and to note that a few files may go, several times over.
RESERVE = ".reserve"
RESERVE_BYTES = 512 << 10
SCARCE_BYTES = 256 << 10
PLENTY_BYTES = 64 << 20


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error means that a disk or quota is used up."""
    if isinstance(error, OperationalError):
        full = getattr(error.orig, "sqlstate", None) == _POSTGRESQL_FULL
        return full or _SQLITE_FULL_WORDS in str(error.orig)
    return isinstance(error, OSError) and error.errno in _FULL_CODES


def is_unwritable(error: BaseException | None) -> bool:
    """Tell whether an error means that a disk can't be written to at all."""
    if isinstance(error, OperationalError):
        return any(words in str(error.orig) for words in _SQLITE_UNWRITABLE_WORDS)
    return isinstance(error, OSError) and error.errno in _UNWRITABLE_CODES


def is_writable(folder: Path) -> bool:
    """Tell whether a folder is there and can be written to, by writing: modes tell nothing of a broken disk."""
    try:
        os.utime(folder)
    except OSError as error:
        log.debug("%s: %s", folder, error.strerror)
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def unwritable_error() -> ServerFull:
    """Return the error for a disk that can't be written to."""
    return ServerFull("The server's disk can't be written to. Try again later.", RETRY_AFTER_SECONDS)


def full_error() -> ServerFull:
    """Return the error for a full disk."""
    return ServerFull("The server's disk is full. Try again later.", RETRY_AFTER_SECONDS)


@contextmanager
def raising_server_full() -> Iterator[None]:
    """Raise ServerFull for an error of a disk that is full or can't be written to."""
    try:
        yield
    except (OSError, OperationalError) as error:
        if is_full(error):
            raise full_error() from error
        if is_unwritable(error):
            log.error("the disk can't be written to: %s", error)
            raise unwritable_error() from error
        raise


def release_reserve(folder: Path) -> bool:
    """Delete the reserve where the disk has no other room left; tell whether it has none."""
    scarce = shutil.disk_usage(folder).free < SCARCE_BYTES
    if scarce:
        (folder / RESERVE).unlink(missing_ok=True)
    return scarce


def keep_reserve(folder: Path) -> None:
    """Keep a file as a reserve; on a full disk delete it, so that the database opens and says what may be deleted."""
    reserve = folder / RESERVE
    if not release_reserve(folder) and shutil.disk_usage(folder).free > PLENTY_BYTES and not reserve.exists():
        with suppress(OSError), reserve.open("wb") as file:  # a reserve, no more: everything works without
            allocate(file, RESERVE_BYTES)


def allocate(file: BinaryIO, size_bytes: int) -> None:
    """Take room on the disk for so many bytes of a file, which become zeros where they aren't there yet."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size_bytes)
    else:  # macOS: an opened file is at its end, a new one at both
        file.seek(0, os.SEEK_END)
        file.write(bytes(max(0, size_bytes - file.tell())))
