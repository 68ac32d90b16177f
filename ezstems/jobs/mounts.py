"""Folders on disks of their own: where such a disk is away, its empty mount point must not be taken for it."""

import os
from contextlib import suppress
from pathlib import Path


class Mounts:
    """Remember, in the instance folder, which of its folders have been on a disk of their own."""

    def __init__(self, instance: Path, folders: tuple[Path, ...]) -> None:
        self._instance = instance
        for folder in folders:
            with suppress(OSError):  # read-only or full: remembered another time
                if self._is_elsewhere(folder) and not self._mark(folder).exists():
                    self._mark(folder).touch(mode=0o600)

    def is_there(self, folder: Path, mode: int) -> bool:
        """Tell whether a folder can be used (`mode` as for os.access), and lies on its own disk if it ever did."""
        try:
            return os.access(folder, mode) and (self._is_elsewhere(folder) or not self._mark(folder).exists())
        except OSError:
            return False

    def _is_elsewhere(self, folder: Path) -> bool:
        return folder.stat().st_dev != self._instance.stat().st_dev

    def _mark(self, folder: Path) -> Path:
        return self._instance / f".{folder.name}-is-a-mount"
