"""What makers of files share: taking turns, and bringing what was written to the disk."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_EVERY_SECONDS = 0.1


@contextmanager
def turn(lock: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait until no other process is inside a block with the same lock file, and call `waiting` meanwhile."""
    with lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(LOOK_EVERY_SECONDS)
        yield


def share(path: Path) -> None:
    """Make a file or folder as open as the folder it lies in: whoever may look there may need it."""
    path.chmod(path.parent.stat().st_mode & (0o777 if path.is_dir() else 0o666))


def sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
