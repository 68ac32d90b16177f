"""MPEG audio frames: where does the first chain of them begin?"""

import os
import re
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ezstems.audio.tags import ID3, end_of_tags, start_of_tags

# Junk before the first frame: what is left of a tag that says too little of itself (a picture), a saved HTTP or ICY
# head, zeros, the end of a frame that was cut. ffmpeg and mpg123 look through 64 KiB of it; a picture may be longer.
LONGEST_JUNK_BYTES = 1 << 20
MOST_TAGS_IN_JUNK = 8  # a head that was saved before the file's own tags, and the like
MOST_TRIES = 10_000  # places that look like a frame's beginning; noise has four hundred
CHAIN = 3  # frames in a row: by chance one megabyte of noise in about 10^8 has them
LONGEST_FRAME_BYTES = 2881

# Other containers may hold whole frames; whoever plays these would have to know them. Images aren't among them: they
# are what follows a tag that is too short.
_OTHERS = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"OggS", b"fLaC", b"FORM", b"caff", b".snd", b"FLV\1", b".RMF", b"MThd"),
    *(b"\x1aE\xdf\xa3", b"0&\xb2u", b"\0\0\1\xba", b"\0\0\1\xb3", b"PK\3\4", b"Rar!", b"7z\xbc\xaf", b"%PDF", b"wvPK"),
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_TAR, _TAR_OFFSET = b"ustar", 257
_TRANSPORT_SYNC, _TRANSPORT_BYTES = 0x47, 188

_SYNC = re.compile(ID3.pattern + rb"|\xff[\xe2-\xff][\x10-\xef]", re.DOTALL)
_RATES_HZ = (44100, 48000, 32000)
# By layer, for MPEG-1 and for MPEG-2 and 2.5. Index 0, the free format, has no length that is known beforehand.
_BITRATES_KBPS = {
    (1, True): (0, *range(32, 449, 32)),
    (2, True): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, True): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, False): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, False): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (3, False): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def frame_bytes(header: bytes) -> int | None:
    """Return the length of the frame that begins with these 4 bytes, None where none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer, bitrate, rate = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3), header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    rate_hz = _RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits, padding = 1000 * _BITRATES_KBPS[layer, version == 3][bitrate], header[2] >> 1 & 1
    if layer == 1:  # counted in slots of 4 bytes
        return (12 * bits // rate_hz + padding) * 4
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits // rate_hz + padding


def _is_chain(data: bytes, start: int, *, short: bool) -> bool:
    """Tell whether consistent frames follow each other from `start`: `CHAIN` of them, or, if `short`, to the end."""
    position, first = start, data[start : start + 4]
    for _ in range(CHAIN):
        header = data[position : position + 4]
        length = frame_bytes(header)
        # version, layer and rate never change within a stream; the bit rate, padding and mode may
        if length is None or header[1] & 0xFE != first[1] & 0xFE or header[2] & 0x0C != first[2] & 0x0C:
            return False
        position += length
        if position + 4 > len(data) or data[position : position + 3] == b"TAG":
            return short  # a very short file, or one cut off; deeper in, noise would do
    return True


def _is_other(data: bytes) -> bool:
    """Tell whether these first bytes are those of another container."""
    return (
        data.startswith(_OTHERS)
        or data[4:8] in _BOXES
        or data[_TAR_OFFSET:].startswith(_TAR)
        or data[: 3 * _TRANSPORT_BYTES : _TRANSPORT_BYTES] == bytes([_TRANSPORT_SYNC]) * 3
    )


def _search(file: BinaryIO, start: int) -> int | None:
    """Return where the first frame after `start` begins, after tags and junk."""
    for attempt in range(MOST_TAGS_IN_JUNK + 1):
        start = end_of_tags(file, start)
        file.seek(start)
        data = file.read(LONGEST_JUNK_BYTES + CHAIN * LONGEST_FRAME_BYTES)
        if _is_other(data):
            return None
        exact = len(data) - len(data.lstrip(b"\0"))
        for found in islice(_SYNC.finditer(data, 0, LONGEST_JUNK_BYTES), MOST_TRIES):
            position = found.start()
            if data[position] == 0xFF:
                if _is_chain(data, position, short=position == exact):
                    return start + position
            elif attempt < MOST_TAGS_IN_JUNK and end_of_tags(file, start + position) > start + position:
                start += position
                break
        else:
            return None
    return None


def find(path: Path, start: int = 0, end: int | None = None) -> tuple[int, int] | None:
    """Return where the MPEG audio between two offsets begins, with its first frame, and where it ends, before any tags.

    None where no chain of frames is near `start`.
    """
    with path.open("rb") as file:
        first = _search(file, start)
        if first is None:
            return None
        size = file.seek(0, os.SEEK_END)
        return first, max(first + 1, start_of_tags(file, min(size, end or size)))
