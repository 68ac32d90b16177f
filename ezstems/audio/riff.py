"""WAVE files: how many channels does the header name?"""

import struct
from pathlib import Path

# Chunks before the format are few and small (`JUNK`, `bext`, `ds64`): more of them are no honest file's.
MOST_CHUNKS = 64
BIG_ENDIAN = b"RIFX"


def channels(path: Path) -> int | None:
    """Return the number of channels in a file's `fmt ` chunk, None where it has none."""
    with path.open("rb") as file:
        order = ">" if file.read(12)[:4] == BIG_ENDIAN else "<"
        for _ in range(MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8:
                break
            name, size_bytes = struct.unpack(f"{order}4sI", head)
            if name == b"fmt ":
                fmt = file.read(4)
                return struct.unpack(f"{order}HH", fmt)[1] if len(fmt) == 4 else None
            file.seek(size_bytes + size_bytes % 2, 1)
    return None
