"""Tags around the sound: however long or many, they are stepped over without being read."""

import os
import re
from typing import BinaryIO

# Honest files have two or three; each costs a look at its header, a thousand of them five milliseconds.
MOST_TAGS = 1000
_ID3_BYTES, _ID3V1_BYTES, _APE_BYTES, _LYRICS_BYTES = 10, 128, 32, 15
_ID3V1_MAGIC, _APE_MAGIC, _LYRICS_MAGIC, _LYRICS_END = b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"LYRICS200"
_HAS_FOOTER = 0x10
# As ID3v2 begins: its version, flags, and a size in four bytes of seven bits. Stricter than ffmpeg, which takes more
# versions: this is also looked for in what is no tag.
ID3 = re.compile(rb"ID3[\x02-\x04][^\xff].[\x00-\x7f]{4}", re.DOTALL)


def tag_bytes(head: bytes) -> int:
    """Return the length of the tag that begins with these bytes, 0 where none does."""
    if ID3.match(head):
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return _ID3_BYTES + size + (_ID3_BYTES if head[5] & _HAS_FOOTER else 0)  # a footer repeats the header
    if len(head) >= _APE_BYTES and head.startswith(_APE_MAGIC):
        return _APE_BYTES + int.from_bytes(head[12:16], "little")  # what it says counts its footer, not its header
    return 0


def end_of_tags(file: BinaryIO, start: int = 0) -> int:
    """Return where the tags that begin at `start` end; `start` itself where none does.

    A tag that leads to the file's end, or past it, says too much of itself, or is none: the sound is before that.
    """
    size = file.seek(0, os.SEEK_END)
    for _ in range(MOST_TAGS):
        file.seek(start)
        length = tag_bytes(file.read(_APE_BYTES))
        if not length or start + length >= size:
            break
        start += length
    return start


def start_of_tags(file: BinaryIO, end: int) -> int:
    """Return where the tags that end at `end` begin; `end` itself where none does.

    A tag counts only if its own beginning is where its end says, for what lies between would be lost.
    """

    def read(position: int, count: int) -> bytes:
        file.seek(max(0, position))
        return file.read(count) if position >= 0 else b""

    for _ in range(MOST_TAGS):
        last = read(max(0, end - _ID3V1_BYTES), min(end, _ID3V1_BYTES))
        length, magic = 0, b""
        if len(last) == _ID3V1_BYTES and last.startswith(_ID3V1_MAGIC):
            length, magic = _ID3V1_BYTES, _ID3V1_MAGIC
        elif last[-_APE_BYTES:].startswith(_APE_MAGIC):
            length, magic = _APE_BYTES + int.from_bytes(last[-20:-16], "little"), _APE_MAGIC
        elif last.endswith(_LYRICS_END) and last[-_LYRICS_BYTES : -len(_LYRICS_END)].isdigit():
            length, magic = _LYRICS_BYTES + int(last[-_LYRICS_BYTES : -len(_LYRICS_END)]), _LYRICS_MAGIC
        if not length or read(end - length, len(magic)) != magic:
            break
        end -= length
    return end
