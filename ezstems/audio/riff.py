"""WAVE files: what do the headers say of the samples, and where do these begin?"""

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ezstems.audio.tags import end_of_tags

# Chunks before the sound are few and small (`JUNK`, `bext`, `ds64`): more of them are no honest file's.
MOST_CHUNKS = 64
NAMES = (b"RIFF", b"RIFX", b"RF64", b"BW64")
BIG_ENDIAN = b"RIFX"
UNTOLD = 0xFFFFFFFF  # the length of what was streamed, or stands elsewhere
PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
MPEG_AUDIO = (0x0050, 0x0055)  # layer I or II, layer III
_FMT_BYTES, _EXTENSIBLE_BYTES = 16, 26  # up to the codec of an extensible one
# By codec and bytes of a sample.
_DECODERS = {
    (PCM, 1): "pcm_u8",
    **{(PCM, width): f"pcm_s{8 * width}" for width in (2, 3, 4)},
    **{(FLOAT, width): f"pcm_f{8 * width}" for width in (4, 8)},
}
# An old editor's floats, up to 2^23: what is said to be 24 bits in four bytes, and looks like this.
_OLD_FLOATS = 24, 4
_OLD_FLOATS_RANGE = 2.0**-30, 2.0**30
_LOOK_BYTES, _MOST_LOOKS = 1 << 20, 64  # beyond so much silence they count as integers


@dataclass(frozen=True)
class Wave:
    """Hold where a WAVE file begins, where its samples do, and what its `fmt ` chunk says of them."""

    start: int
    big_endian: bool
    codec: int = 0
    channels: int | None = None
    bits: int = 0  # those that count, of a sample
    block_bytes: int = 0
    is_extensible: bool = False
    data_start: int | None = None
    data_end: int | None = None  # None where it ends with the file
    has_old_floats: bool = False

    @property
    def _widths(self) -> tuple[int, int]:
        """Return the bytes of a sample: by the bits that count, and by the length of a block."""
        told = -(-self.bits // 8)
        width, rest = divmod(self.block_bytes, self.channels or 1)
        # A block that is too short lies. Without the extension, a longer one may lie, too, unless its bits need it.
        is_lie = rest or width < told or not (self.is_extensible or self.bits % 8 or (told, width) == (3, 4))
        return told, told if is_lie else width

    @property
    def decoder(self) -> str | None:
        """Name the decoder of samples in wider containers, or big-endian; None where ffmpeg finds it by itself.

        It goes by the bits that count, would read 24 in 32 as 24.0 floats, and takes all for little-endian.
        """
        told, width = self._widths
        name = _DECODERS.get((self.codec, width))
        is_told = told == width and not (self.is_extensible or self.big_endian)
        if name is None or is_told or self.has_old_floats:
            return None
        return name if width == 1 else name + ("be" if self.big_endian else "le")

    @property
    def may_have_old_floats(self) -> bool:
        """Tell whether the samples may be floats, though the header speaks of integers."""
        is_plain = self.codec == PCM and not (self.is_extensible or self.big_endian)
        return is_plain and (self.bits, self._widths[1]) == _OLD_FLOATS


def _are_floats(file: BinaryIO) -> bool:
    """Tell whether the samples of four bytes that come next are floats: read as such, most integers are absurd."""
    least, most = _OLD_FLOATS_RANGE
    for _ in range(_MOST_LOOKS):
        block = file.read(_LOOK_BYTES)
        samples = np.frombuffer(block[: len(block) // 4 * 4], "<f4")
        sounding = np.abs(samples[samples.view("<u4") != 0])  # silence is the same in both
        if len(sounding):
            return bool(np.mean((sounding > least) & (sounding < most)) > 0.5)
    return False


def _told(wave: Wave, body: bytes) -> Wave:
    """Add what a `fmt ` chunk says, as far as it goes."""
    order = ">" if wave.big_endian else "<"
    if len(body) < _FMT_BYTES:
        return replace(wave, channels=struct.unpack_from(f"{order}H", body, 2)[0] if len(body) >= 4 else None)
    codec, channels, _, _, block_bytes, bits = struct.unpack_from(f"{order}HHIIHH", body)
    is_extensible = codec == EXTENSIBLE and len(body) >= _EXTENSIBLE_BYTES
    if is_extensible:
        valid_bits, _, codec = struct.unpack_from(f"{order}HIH", body, _FMT_BYTES + 2)
        bits = valid_bits if 0 < valid_bits < bits else bits
    return replace(
        wave, codec=codec, channels=channels, bits=bits, block_bytes=block_bytes, is_extensible=is_extensible
    )


def read(path: Path) -> Wave | None:
    """Read the headers of a file that begins, after any tags, as a WAVE file; None where it doesn't."""
    with path.open("rb") as file:
        start = end_of_tags(file)
        file.seek(start)
        name, _, kind = struct.unpack("4s4s4s", file.read(12).ljust(12))
        if name not in NAMES or kind != b"WAVE":
            return None
        wave, has_format = Wave(start, name == BIG_ENDIAN), False
        for _ in range(MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8 or (has_format and wave.data_start is not None):
                break
            name, size_bytes = struct.unpack(">4sI" if wave.big_endian else "<4sI", head)
            position = file.tell()
            if name == b"fmt " and not has_format:
                wave, has_format = _told(wave, file.read(min(size_bytes, _EXTENSIBLE_BYTES))), True
            elif name == b"data" and wave.data_start is None:
                is_told = size_bytes not in (0, UNTOLD)
                wave = replace(wave, data_start=position, data_end=position + size_bytes if is_told else None)
            file.seek(position + size_bytes + size_bytes % 2)
        if wave.data_start is not None and wave.may_have_old_floats:
            file.seek(wave.data_start)
            wave = replace(wave, has_old_floats=_are_floats(file))
    return wave
