"""MPEG audio frames: is there a chain of layer III frames at the start of a file?"""

from pathlib import Path

# Real files are at times cut from a stream, in the middle of a frame: no frame is longer than this.
LONGEST_FRAME_BYTES = 1441
# Taggers leave zeros between tag and audio; more than this is no tag's padding.
LONGEST_PADDING_BYTES = 1 << 20
CHAIN = 3  # frames in a row: by chance one file of noise in about 10^11 has them

_BITRATES_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG-2 and 2.5
}
_RATES_HZ = (44100, 48000, 32000)


def frame_bytes(header: bytes) -> int | None:
    """Return the length of the layer III frame that begins with these 4 bytes, None where none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:  # sync, layer III
        return None
    version, bitrate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    rate_hz = _RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 1152 if version == 3 else 576
    return samples * _BITRATES_KBPS[version == 3][bitrate] * 125 // rate_hz + (header[2] >> 1 & 1)


def _is_chain(data: bytes, start: int) -> bool:
    """Tell whether consistent frames follow each other from `start`, up to the data's end or `CHAIN` of them."""
    position, first = start, data[start : start + 4]
    for _ in range(CHAIN):
        header = data[position : position + 4]
        length = frame_bytes(header)
        # version, layer and rate never change within a stream; the bit rate, padding and mode may
        if length is None or header[1] & 0xFE != first[1] & 0xFE or header[2] & 0x0C != first[2] & 0x0C:
            return False
        position += length
        if position + 4 > len(data) or data[position : position + 3] == b"TAG":
            return start == 0  # a very short file, or one cut off; deeper in, noise would do
    return True


def starts_with_frames(path: Path) -> bool:
    """Tell whether MPEG layer III frames begin the file, after any ID3v2 tags and their padding."""
    with path.open("rb") as file:
        start = 0
        while len(head := file.read(10)) == 10 and head[:3] == b"ID3" and max(head[6:]) < 0x80:
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            start += 10 + size + (10 if head[5] & 0x10 else 0)  # a footer repeats the header
            file.seek(start)
        file.seek(start)
        window = CHAIN * LONGEST_FRAME_BYTES
        data = file.read(window)
        if data[:4] in (b"RIFF", b"RF64", b"OggS", b"fLaC") or data[4:8] == b"ftyp":
            return False  # another container, whatever its payload
        padding = 0
        while data and not data.strip(b"\0") and padding < LONGEST_PADDING_BYTES:
            padding += len(data)
            data = file.read(window)
        data = data.lstrip(b"\0") + file.read(window)
    return any(_is_chain(data, start) for start in range(min(LONGEST_FRAME_BYTES, len(data) - 3)))
