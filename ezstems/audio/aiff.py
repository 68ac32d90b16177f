"""AIFF files: what do the headers say of the samples, and where do these lie?"""

import struct
from dataclasses import dataclass
from pathlib import Path

MOST_CHUNKS = 64  # a name, comments, markers, an instrument: more of them are no honest file's
_COMM_BYTES, _COMPRESSION_BYTES, _SSND_BYTES = 18, 4, 8
_EXPONENT_OF_ONE, _MANTISSA_BITS = 16383, 63  # of the 80-bit number that a rate is
_MOST_RATE_HZ = 1 << 20
# By bits that count: what `sowt`, that is little-endian, holds. ffmpeg takes all of it for 16 bits.
_LITTLE = {8: "s8", 24: "s24le", 32: "s32le"}


@dataclass(frozen=True)
class Form:
    """Hold what an AIFF file's headers say."""

    channels: int
    bits: int  # of a sample in its container
    rate_hz: int
    is_little_endian: bool
    data_start: int
    data_end: int

    @property
    def raw_format(self) -> str | None:
        """Name the headerless format that the samples are to be read as; None where ffmpeg reads them right."""
        is_sane = 0 < self.channels <= 64 and 0 < self.rate_hz <= _MOST_RATE_HZ and self.data_end > self.data_start
        return _LITTLE.get(self.bits) if self.is_little_endian and is_sane else None


def _rate_hz(number: bytes) -> int:
    """Return the rate that 80 bits of floating point are, 0 for what is none."""
    exponent, mantissa = struct.unpack(">HQ", number)
    shift = _MANTISSA_BITS - (exponent - _EXPONENT_OF_ONE)
    return (mantissa + (1 << shift >> 1)) >> shift if 0 <= shift <= _MANTISSA_BITS else 0


def read(path: Path) -> Form | None:
    """Read the headers of an AIFF file; None where they are damaged, or lack the samples or their kind."""
    common, sound = None, None
    with path.open("rb") as file:
        file.seek(12)
        for _ in range(MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8 or (common and sound):
                break
            name, size_bytes = struct.unpack(">4sI", head)
            position = file.tell()
            body = file.read(min(size_bytes, _COMM_BYTES + _COMPRESSION_BYTES))
            if name == b"COMM" and len(body) >= _COMM_BYTES:
                common = body
            elif name == b"SSND" and len(body) >= _SSND_BYTES:
                offset = struct.unpack_from(">I", body)[0]
                sound = position + _SSND_BYTES + offset, position + size_bytes
            file.seek(position + size_bytes + size_bytes % 2)
    if common is None or sound is None:
        return None
    channels, _, bits, rate = struct.unpack_from(">HIH10s", common)
    compression = common[_COMM_BYTES:]
    return Form(channels, -(-bits // 8) * 8, _rate_hz(rate), compression == b"sowt", *sound)
