"""An opened file of the archive: read from any position, wherever it lies."""

import errno
import io
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from ezstems.files import changed_at


class Opened(io.RawIOBase):
    """Read a finished file; `read_at` knows how.

    It has no `fileno` on purpose: of an entry of a ZIP, a server would send all that follows in the ZIP, too.
    """

    def __init__(self, size_bytes: int, etag: str, changed_at: datetime) -> None:
        """Hold the size, what tells this content from any other (the same on every box), and its time in UTC."""
        self.size_bytes, self.etag, self.changed_at = size_bytes, etag, changed_at
        self._at = 0

    def read_at(self, view: memoryview, at: int) -> int:
        """Fill a view with the bytes from a position on, which it doesn't lead beyond; return how many there were."""
        raise NotImplementedError

    def place(self) -> tuple[Path, int] | None:
        """Return the file of this box that holds the bytes, and from where on; None where they lie elsewhere."""
        return None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes, and return how many; 0 at the end."""
        if self.closed:
            raise ValueError("the file is closed")
        view = memoryview(buffer)[: max(0, self.size_bytes - self._at)]
        count = self.read_at(view, self._at) if len(view) else 0
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, and return it; beyond the end there is nothing to read."""
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size_bytes}[whence]
        if at < 0:
            raise OSError(errno.EINVAL, f"offset={offset} leads before the beginning")  # as a file does
        self._at = at
        return at

    def tell(self) -> int:
        """Return the position."""
        return self._at


class OpenedFile(Opened):
    """Read a file of this box."""

    _file: Any = None  # until it is open: one that couldn't be is closed, too

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("rb", buffering=0)
        stat = os.fstat(self._file.fileno())
        super().__init__(stat.st_size, f"{stat.st_mtime_ns:x}-{stat.st_size:x}", changed_at(stat))

    def place(self) -> tuple[Path, int]:
        """Return the file itself."""
        return self._path, 0

    def read_at(self, view: memoryview, at: int) -> int:
        """Read the file's bytes."""
        return os.preadv(self._file.fileno(), [view], at)

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        if self._file is not None:
            self._file.close()
        super().close()
