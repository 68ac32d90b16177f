"""An upload on its way in: written to the disk block by block, with its checksum, or only its checksum taken."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from ezstems.disk import raising_server_full


class Incoming:
    """Write an upload to its file, and count and hash what comes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        with raising_server_full():
            self._file = path.open("wb")

    def write(self, block: bytes) -> None:
        """Append a block; raise ServerFull when the disk has no room for it."""
        with raising_server_full():
            self._file.write(block)
        self._sha256.update(block)
        self.size_bytes += len(block)

    @property
    def sha256(self) -> str:
        """Return the hexadecimal checksum of what has come so far."""
        return self._sha256.hexdigest()

    def finish(self) -> None:
        """Sync the file and close it; raise ServerFull when the disk has no room."""
        with raising_server_full():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Close and delete the file; do nothing after it was stored."""
        with suppress(OSError):  # what can't be flushed now was to be deleted anyway
            self._file.close()
        with suppress(OSError):  # on a broken disk; the worker that finds this one dead deletes it
            self.path.unlink(missing_ok=True)


class Unkept(Incoming):
    """Count and hash what comes, and write it nowhere."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()

    def write(self, block: bytes) -> None:
        """Count and hash a block."""
        self._sha256.update(block)
        self.size_bytes += len(block)

    def discard(self) -> None:
        """Do nothing: there is no file."""
