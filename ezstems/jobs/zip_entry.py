"""One entry of a ZIP that stores it as it is, read in place without a copy."""

import struct
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from ezstems.jobs.opened import Opened

# Of an entry's own header: what stands before the lengths of its name and of its extra field, and those.
_LOCAL_HEADER = struct.Struct("<26xHH")


def _find(archive: Opened, name: str) -> ZipInfo:
    return ZipFile(archive).getinfo(name)


class ZipEntry(Opened):
    """Read the bytes of one entry alone."""

    def __init__(self, archive: Opened, name: str, find: Callable[[Opened, str], ZipInfo] = _find) -> None:
        """Take an opened ZIP, which is closed with this; raise KeyError where `find` finds no entry of that name."""
        self._archive = archive
        try:
            entry = find(archive, name)
            self._start = self.start_of(archive, entry)
        except BaseException:
            self.close()
            raise
        # The entry's own checksum, and which ZIP it is in.
        super().__init__(entry.file_size, f"{entry.CRC:08x}-{entry.file_size:x}-{archive.etag}", archive.changed_at)

    @staticmethod
    def start_of(archive: Opened, entry: ZipInfo) -> int:
        """Return where in a ZIP an entry's content begins."""
        archive.seek(entry.header_offset)
        header = archive.read(_LOCAL_HEADER.size) or b""
        return entry.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(header))

    def place(self) -> tuple[Path, int] | None:
        """Return the ZIP's file, and where in it the entry is."""
        place = self._archive.place()
        return place and (place[0], place[1] + self._start)

    def read_at(self, view: memoryview, at: int) -> int:
        """Read the entry's bytes in the ZIP."""
        return self._archive.read_at(view, self._start + at)

    def close(self) -> None:
        """Close the ZIP; harmless when it is closed."""
        self._archive.close()
        super().close()
