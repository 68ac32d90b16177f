"""An upload on its way in: it goes straight to the disk, and its checksum is taken meanwhile."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from ezstems.disk import full_refused


class Incoming:
    """Take in an upload, block by block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        with full_refused():
            self._file = path.open("wb")

    def write(self, block: bytes) -> None:
        """Append a block; raise ServerFull when the disk has no room for it."""
        with full_refused():
            self._file.write(block)
        self._sha256.update(block)
        self.size_bytes += len(block)

    @property
    def sha256(self) -> str:
        """Return the checksum of what has come so far, in hexadecimal."""
        return self._sha256.hexdigest()

    def finish(self) -> None:
        """Bring every byte to the disk and close; raise ServerFull when the disk has no room."""
        with full_refused():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Leave nothing behind; harmless after the file was kept."""
        with suppress(OSError):  # what can't be flushed now was to be deleted anyway
            self._file.close()
        with suppress(OSError):  # on a dead disk; whoever finds this worker dead deletes it
            self.path.unlink(missing_ok=True)
