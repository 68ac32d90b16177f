"""A process's scratch folder on its box: what passes through on its way to or from an object store.

A live process holds a lock on its folder, which the kernel drops however the process ends; the next one deletes it.
"""

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ezstems.files import exclusive_lock

log = logging.getLogger(__name__)


class Scratch:
    """Hold a folder of one owner, which is made when it is first needed; then those of dead owners are deleted."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._all, self._own = folder, folder / owner
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """Return a path in the folder."""
        with self._lock:
            if self._descriptor is None or not self._own.is_dir():
                self._make()
        return self._own / name

    def clear(self) -> None:
        """Delete the folders of dead owners; where that can't be done, it is when this one's is made."""
        try:
            with self._lock:
                self._make()
        except OSError as error:
            log.warning("%s could not be cleared yet: %s", self._all, error)

    def free_bytes(self) -> int:
        """Return the free space of its disk; 0 where that is away."""
        try:
            return shutil.disk_usage(self._all.parent).free
        except OSError:
            return 0

    def is_writable(self) -> bool:
        """Tell whether files can be made in it."""
        try:
            return os.access(self.path("").resolve(), os.W_OK | os.X_OK)
        except OSError:
            return False

    @contextmanager
    def lend(self, name: str) -> Iterator[Path]:
        """Lend an empty folder, and delete it in the end."""
        folder = self.path(name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _make(self) -> None:
        self._all.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive_lock(self._all / ".lock"):  # none is deleted between its making and its locking
            for left in self._all.iterdir():
                if left.is_dir() and left != self._own:
                    _delete_if_dead(left)
            self._own.mkdir(mode=0o700, exist_ok=True)
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = os.open(self._own, os.O_RDONLY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _delete_if_dead(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # another user's, or gone
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
