"""QuickTime's and MP4's boxes: how many channels has the first sound track, where its header alone says so?"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

Extent = tuple[int, int]

MOST_BOXES = 1000  # at one place: fragments are that many, and come after what is looked for
# Uncompressed sound; of any other kind its own decoder knows better.
_PCM = (b"sowt", b"twos", b"in24", b"in32", b"fl32", b"fl64", b"lpcm", b"raw ", b"NONE", b"ulaw", b"alaw")
_ENTRY, _VERSION, _CHANNELS, _CHANNELS_OF_VERSION_2 = 12, 24, 32, 56  # within `stsd`


def _boxes(file: BinaryIO, inside: Extent) -> Iterator[tuple[bytes, Extent]]:
    """Yield the names of the boxes at one place, and where their contents lie."""
    position, end = inside
    for _ in range(MOST_BOXES):
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        begin = position + 8
        if size == 1 and len(head) == 16:
            size, begin = struct.unpack_from(">Q", head, 8)[0], position + 16
        last = end if size == 0 else position + size
        if not begin <= last <= end:
            return
        yield name, (begin, last)
        position = last


def _inside(file: BinaryIO, place: Extent, *names: bytes) -> Extent | None:
    """Return where the contents of a box lie, by the names that lead to it."""
    for name in names:
        found = next((extent for each, extent in _boxes(file, place) if each == name), None)
        if found is None:
            return None
        place = found
    return place


def _read(file: BinaryIO, place: Extent | None, count: int) -> bytes:
    if place is None:
        return b""
    file.seek(place[0])
    return file.read(min(count, place[1] - place[0]))


def pcm_channels(path: Path) -> int:
    """Return the channels of a file's first sound track if that is uncompressed; 0 where it isn't, or is hidden."""
    with path.open("rb") as file:
        movie = _inside(file, (0, path.stat().st_size), b"moov")
        for name, track in _boxes(file, movie or (0, 0)):
            if name != b"trak" or _read(file, _inside(file, track, b"mdia", b"hdlr"), 12)[8:] != b"soun":
                continue
            table = _read(file, _inside(file, track, b"mdia", b"minf", b"stbl", b"stsd"), _CHANNELS_OF_VERSION_2 + 4)
            if table[_ENTRY : _ENTRY + 4] not in _PCM or len(table) < _CHANNELS + 2:
                return 0
            if table[_VERSION : _VERSION + 2] == b"\0\2":
                return int.from_bytes(table[_CHANNELS_OF_VERSION_2:], "big")
            return int.from_bytes(table[_CHANNELS : _CHANNELS + 2], "big")
    return 0
