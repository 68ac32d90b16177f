"""What makers of files share: taking turns, and bringing what was written to the disk."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path


@contextmanager
def exclusive_lock(lock: Path) -> Iterator[None]:
    """Wait until no other process is inside a block with the same lock file."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sync_bytes(descriptor: int) -> None:
    """Bring what an open file holds to the disk, if need be without its times."""
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has the second alone


def sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def changed_at(stat: os.stat_result) -> datetime:
    """Return when a file was last changed, in UTC without a zone, as the rows have it."""
    return datetime.fromtimestamp(stat.st_mtime, timezone.utc).replace(tzinfo=None)
