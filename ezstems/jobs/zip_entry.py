"""One entry of a ZIP that stores it as it is, read in place without a copy."""

import io
import os
import struct
from pathlib import Path
from typing import Any
from zipfile import ZipFile

# Of an entry's own header: what stands before the lengths of its name and of its extra field, and those.
_LOCAL_HEADER = struct.Struct("<26xHH")


class ZipEntry(io.RawIOBase):
    """Read the bytes of one entry alone.

    It has no `fileno` on purpose: a server would send from that to the end of the whole file.
    """

    _file: io.FileIO | None = None  # until it is open: one that couldn't be is closed, too

    def __init__(self, archive: Path, name: str) -> None:
        """Open an entry that is stored as it is; raise KeyError where there is none of that name."""
        self._file = file = archive.open("rb", buffering=0)
        descriptor = file.fileno()
        try:
            entry = ZipFile(file).getinfo(name)
            lengths = _LOCAL_HEADER.unpack(os.pread(descriptor, _LOCAL_HEADER.size, entry.header_offset))
        except BaseException:
            self.close()
            raise
        self._start = entry.header_offset + _LOCAL_HEADER.size + sum(lengths)
        self._at = 0
        self.size_bytes = entry.file_size
        # The entry's own checksum, and when the ZIP was made.
        self.etag = f"{entry.CRC:08x}-{entry.file_size:x}-{os.fstat(descriptor).st_mtime_ns:x}"

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes, and return how many; 0 at the entry's end."""
        assert self._file is not None
        descriptor, view = self._file.fileno(), memoryview(buffer)[: max(0, self.size_bytes - self._at)]
        count = os.preadv(descriptor, [view], self._start + self._at) if len(view) else 0
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position in the entry, and return it; beyond the end there is nothing to read."""
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size_bytes}[whence]
        if at < 0:
            raise ValueError(f"offset={offset} leads before the entry's beginning")
        self._at = at
        return at

    def tell(self) -> int:
        """Return the position in the entry."""
        return self._at

    def close(self) -> None:
        """Close the ZIP; harmless when it is closed."""
        if self._file is not None:
            self._file.close()
        super().close()
