"""An opened object of a store, read by ranges."""

from collections.abc import Callable
from datetime import datetime

from ezstems.jobs.opened import Opened

# What a read fetches: at least the first, twice as much whenever it goes on, never more than the last.
LEAST_BYTES, MOST_BYTES = 64 << 10, 1 << 20
# A ZIP's directory ends with a comment of up to 64 KiB, and is looked for from there.
TAIL_BYTES = (64 << 10) + (16 << 10)


class OpenedObject(Opened):
    """Read an object by ranges, more at a time the longer it goes on."""

    def __init__(
        self,
        fetch: Callable[[int, int], memoryview],
        size_bytes: int,
        etag: str,
        changed_at: datetime,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Take what fetches the bytes from a position to another."""
        super().__init__(size_bytes, etag, changed_at)
        self._fetch_range, self._most_bytes = fetch, most_bytes
        self._block, self._start = memoryview(b""), -1

    def read_at(self, view: memoryview, at: int) -> int:
        """Fill a view from the block that was fetched, and fetch others."""
        done = 0
        while done < len(view) and at + done < self.size_bytes:
            offset = at + done - self._start
            if not 0 <= offset < len(self._block):
                self._fetch(at + done, len(view) - done)
                continue
            part = self._block[offset : offset + len(view) - done]
            view[done : done + len(part)] = part
            done += len(part)
        return done

    def _fetch(self, at: int, wanted_bytes: int) -> None:
        goes_on = at == self._start + len(self._block)
        count = min(2 * len(self._block), self._most_bytes) if goes_on else LEAST_BYTES
        end = min(at + max(count, wanted_bytes), self.size_bytes)
        if not goes_on and self.size_bytes - at <= TAIL_BYTES:
            at, end = max(0, self.size_bytes - TAIL_BYTES), self.size_bytes
        self._block = self._fetch_range(at, end)
        self._start = at
        if not self._block:
            raise OSError("the object ends before its end")
