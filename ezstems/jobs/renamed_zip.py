"""A ZIP whose entries bear other names, made while it is read: headers anew, contents from where they lie."""

import io
import zlib
from bisect import bisect_right
from collections.abc import Callable
from copy import copy
from zipfile import ZipFile

from ezstems.jobs.damage import raising_damaged_result
from ezstems.jobs.opened import Opened
from ezstems.jobs.zip_entry import ZipEntry


class _Tail(io.BytesIO):
    """Take what zipfile writes from a position on of a file whose beginning isn't there."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self._start = start

    def tell(self) -> int:
        """Return the position in the file."""
        return self._start + super().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position in the file."""
        return self._start + super().seek(offset - self._start if whence == io.SEEK_SET else offset, whence)


class RenamedZip(Opened):
    """Read an opened ZIP, which stores its entries as they are, with other names in it."""

    def __init__(self, archive: Opened, rename: Callable[[str], str]) -> None:
        """Take an opened ZIP, which is closed with this; raise DamagedFile where it isn't whole."""
        self._archive = archive
        # What lies where: bytes of its own, or where the ZIP's own bytes begin.
        self._starts: list[int] = []
        self._pieces: list[tuple[bytes | int, int]] = []
        self._end = 0
        try:
            with raising_damaged_result():
                self._lay_out(rename)
        except BaseException:
            self.close()
            raise
        made = b"".join(piece for piece, _ in self._pieces if isinstance(piece, bytes))
        super().__init__(self._end, f"{archive.etag}-{zlib.crc32(made):08x}", archive.changed_at)

    def _lay_out(self, rename: Callable[[str], str]) -> None:
        old = ZipFile(self._archive)
        entries = []
        for entry in old.infolist():
            begin, new = ZipEntry.start_of(self._archive, entry), copy(entry)
            new.filename = new.orig_filename = rename(entry.filename)
            new.header_offset = self._end
            new.extra = b""
            header = new.FileHeader()
            self._add(header, len(header))
            self._add(begin, entry.compress_size)
            entries.append(new)
        tail = _Tail(self._end)
        with ZipFile(tail, "w") as directory:
            directory.comment = old.comment
            directory.filelist.extend(entries)
        self._add(tail.getvalue(), len(tail.getvalue()))

    def _add(self, piece: bytes | int, length: int) -> None:
        self._starts.append(self._end)
        self._pieces.append((piece, length))
        self._end += length

    def read_at(self, view: memoryview, at: int) -> int:
        """Read bytes made anew, or the ZIP's own."""
        done = 0
        while done < len(view):
            number = bisect_right(self._starts, at + done) - 1
            piece, length = self._pieces[number]
            offset = at + done - self._starts[number]
            part = view[done : done + length - offset]
            if isinstance(piece, bytes):
                part[:] = piece[offset : offset + len(part)]
                done += len(part)
                continue
            count = self._archive.read_at(part, piece + offset)
            if not count:
                break  # the ZIP has become shorter
            done += count
        return done

    def close(self) -> None:
        """Close the ZIP; harmless when it is closed."""
        self._archive.close()
        super().close()
