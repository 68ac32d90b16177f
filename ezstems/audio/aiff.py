"""AIFF files: what do the headers say of the samples, and where do these lie?"""

import struct
from dataclasses import dataclass
from pathlib import Path

MOST_CHUNKS = 64  # a name, comments, markers, an instrument: more of them are no honest file's
_COMM_BYTES, _COMPRESSION_BYTES, _SSND_BYTES = 18, 4, 8
_EXPONENT_OF_ONE, _MANTISSA_BITS = 16383, 63  # of the 80-bit number that a rate is
_MOST_RATE_HZ = 1 << 20
# The headerless formats, by compression and a sample's bits: `sowt` is little-endian.
_BIG = {8: "s8", 16: "s16be", 24: "s24be", 32: "s32be"}
_LITTLE = {8: "s8", 16: "s16le", 24: "s24le", 32: "s32le"}
_RAW = {b"": _BIG, b"NONE": _BIG, b"twos": _BIG, b"sowt": _LITTLE, b"fl32": {32: "f32be"}, b"FL32": {32: "f32be"}}


@dataclass(frozen=True)
class Form:
    """Hold what an AIFF file's headers say."""

    channels: int
    bits: int  # of a sample in its container
    rate_hz: int
    compression: bytes
    data_start: int
    data_end: int
    is_unfinished: bool  # the length of the samples was never written: they go on to the file's end

    @property
    def raw_format(self) -> str | None:
        """Name the headerless format that the samples are to be read as; None where ffmpeg reads them right."""
        is_sane = 0 < self.channels <= 64 and 0 < self.rate_hz <= _MOST_RATE_HZ and self.data_end > self.data_start
        # ffmpeg takes all little-endian samples for 16 bits, and reads none where there are said to be none.
        is_misread = self.is_unfinished or (self.compression == b"sowt" and self.bits != 16)
        return _RAW.get(self.compression, {}).get(self.bits) if is_misread and is_sane else None


def _rate_hz(number: bytes) -> int:
    """Return the rate that 80 bits of floating point are, 0 for what is none."""
    exponent, mantissa = struct.unpack(">HQ", number)
    shift = _MANTISSA_BITS - (exponent - _EXPONENT_OF_ONE)
    return (mantissa + (1 << shift >> 1)) >> shift if 0 <= shift <= _MANTISSA_BITS else 0


def read(path: Path) -> Form | None:
    """Read the headers of an AIFF file; None where they are damaged, or lack the samples or their kind."""
    common, sound, is_unfinished = None, None, False
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
            elif name == b"SSND":
                sound = position + _SSND_BYTES + int.from_bytes(body[:4], "big"), position + size_bytes
                is_unfinished = not size_bytes
            file.seek(position + size_bytes + size_bytes % 2)
    if common is None or sound is None:
        return None
    data_start, data_end = sound
    if is_unfinished:
        data_end = path.stat().st_size
    channels, _, bits, rate = struct.unpack_from(">HIH10s", common)
    compression = common[_COMM_BYTES:]
    bits = -(-bits // 8) * 8
    return Form(channels, bits, _rate_hz(rate), compression, data_start, data_end, is_unfinished)
