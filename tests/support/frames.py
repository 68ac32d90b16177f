"""MPEG audio frame by frame, and the tags that are put around it."""

import struct
from collections.abc import Iterator

from ezstems.audio.mpeg import frame_bytes


def frames(content: bytes) -> Iterator[bytes]:
    """Yield the frames of bytes that hold nothing else."""
    position = 0
    while length := frame_bytes(content[position : position + 4]):
        yield content[position : position + length]
        position += length
    assert position >= len(content), position


def synchsafe(size: int) -> bytes:
    """Return a number below 2^28 in four bytes of seven bits, as ID3v2 writes sizes."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(body: bytes = b"", *, size: int | None = None, version: int = 4, flags: int = 0) -> bytes:
    """Build an ID3v2 tag, which may lie about its size."""
    return b"ID3" + bytes((version, 0, flags)) + synchsafe(len(body) if size is None else size) + body


def _ape_end(body_bytes: int, flags: int) -> bytes:
    return b"APETAGEX" + struct.pack("<IIII", 2000, body_bytes + 32, 1, flags) + bytes(8)


def ape(body: bytes = b"") -> bytes:
    """Build an APEv2 tag with header and footer."""
    return _ape_end(len(body), 0xA0000000) + body + _ape_end(len(body), 0x80000000)


def lyrics(body: bytes = b"") -> bytes:
    """Build a Lyrics3v2 tag."""
    return b"LYRICSBEGIN" + body + b"%06dLYRICS200" % (len(body) + 11)
