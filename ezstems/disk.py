"""A full disk: how the system and SQLite say it, and what it means for who asks."""

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
_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# SQLite's own words (SQLITE_FULL); the error's code reaches Python only from 3.11 on.
_SQLITE_WORDS = "disk is full"
# What a file system answers that was mounted anew read-only, as ext4 is after an error of the disk; and SQLite's words.
_DEAD_CODES = (errno.EROFS, errno.EIO)
_SQLITE_DEAD_WORDS = ("disk I/O error", "readonly database")
# What SQLite takes to open and to note that a few files may go, several times over.
RESERVE = ".reserve"
RESERVE_BYTES = 512 << 10
SCARCE_BYTES = 256 << 10
PLENTY_BYTES = 64 << 20


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error means that a disk or quota is used up."""
    if isinstance(error, OperationalError):
        return _SQLITE_WORDS in str(error.orig)
    return isinstance(error, OSError) and error.errno in _CODES


def is_dead(error: BaseException | None) -> bool:
    """Tell whether an error means that a disk can't be written to at all."""
    if isinstance(error, OperationalError):
        return any(words in str(error.orig) for words in _SQLITE_DEAD_WORDS)
    return isinstance(error, OSError) and error.errno in _DEAD_CODES


def is_alive(folder: Path) -> bool:
    """Tell whether a folder is there and can be written to; its mode and its mount's alone wouldn't tell."""
    try:
        os.utime(folder)
    except OSError as error:
        log.debug("%s: %s", folder, error.strerror)
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def dead() -> ServerFull:
    """Return what to raise for a disk that can't be written to."""
    return ServerFull("The server's disk can't be written to. Try again later.", RETRY_AFTER_SECONDS)


def refusal() -> ServerFull:
    """Return what to raise for a full disk."""
    return ServerFull("The server's disk is full. Try again later.", RETRY_AFTER_SECONDS)


@contextmanager
def full_refused() -> Iterator[None]:
    """Turn a full or dead disk's error into ServerFull."""
    try:
        yield
    except (OSError, OperationalError) as error:
        if is_full(error):
            raise refusal() from error
        if is_dead(error):
            log.error("the disk can't be written to: %s", error)
            raise dead() from error
        raise


def give_up_reserve(folder: Path) -> bool:
    """Give up the room that was set aside where there is no other; tell whether there is none."""
    scarce = shutil.disk_usage(folder).free < SCARCE_BYTES
    if scarce:
        (folder / RESERVE).unlink(missing_ok=True)
    return scarce


def keep_reserve(folder: Path) -> None:
    """Set some room aside; give it up when there is no other, so that the database opens and says what may go."""
    reserve = folder / RESERVE
    if not give_up_reserve(folder) and shutil.disk_usage(folder).free > PLENTY_BYTES and not reserve.exists():
        with suppress(OSError), reserve.open("wb") as file:  # a reserve, no more: everything works without
            allocate(file, RESERVE_BYTES)


def allocate(file: BinaryIO, size_bytes: int) -> None:
    """Take room on the disk for so many bytes of a file, which become zeros where they aren't there yet."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size_bytes)
    else:  # macOS: an opened file is at its end, a new one at both
        file.seek(0, os.SEEK_END)
        file.write(bytes(max(0, size_bytes - file.tell())))
