"""Ogg with Opus, as RFC 3533 and RFC 7845 have it: packets out of a stream, and some of them as a file of their own."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

OPUS_RATE_HZ = 48_000
PACKET_SAMPLES = 960  # 20 ms
_PAGE = struct.Struct("<4sBBqIIIB")
_HEAD = struct.Struct("<8sBBHIhB")
_FIRST, _LAST = 2, 4
_MOST_SEGMENTS = 255
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_TAGS = b"OpusTags" + struct.pack("<I", 7) + b"EzStems" + struct.pack("<I", 0)


def packets(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the packets of a stream; raise ValueError where it is no Ogg, or ends in the middle of a page."""
    open_packet = b""
    while header := _read(stream, _PAGE.size):
        if len(header) < _PAGE.size or header[:4] != b"OggS":
            raise ValueError("no Ogg page where one should begin")
        lacing = _read(stream, header[-1])
        body = _read(stream, sum(lacing))
        if len(lacing) < header[-1] or len(body) < sum(lacing):
            raise ValueError("an Ogg page ends early")
        start = end = 0
        for length in lacing:
            end += length
            if length < 255:
                yield open_packet + body[start:end]
                open_packet, start = b"", end
        open_packet += body[start:end]


def _read(stream: IO[bytes], count: int) -> bytes:
    """Read so many bytes of a pipe, fewer at its end."""
    parts = b""
    while len(parts) < count and (part := stream.read(count - len(parts))):
        parts += part
    return parts


def pre_skip_of(head: bytes) -> int:
    """Return how many samples the encoder puts before the sound, by a stream's first packet."""
    if len(head) < _HEAD.size or head[:8] != b"OpusHead":
        raise ValueError("no Opus stream")
    return _HEAD.unpack_from(head)[3]


def opus_file(audio: Sequence[bytes], skipped_samples: int, samples: int) -> bytes:
    """Return a stereo file of packets: of what they decode to, some samples are skipped, and so many are heard."""
    head = _HEAD.pack(b"OpusHead", 1, 2, skipped_samples, OPUS_RATE_HZ, 0, 0)
    pages = [_page(_FIRST, 0, 0, [head]), _page(0, 0, 1, [_TAGS])]
    done = 0
    while done < len(audio):
        end, segments = done, 0
        while end < len(audio) and segments + len(audio[end]) // 255 + 1 <= _MOST_SEGMENTS:
            segments += len(audio[end]) // 255 + 1
            end += 1
        is_last = end == len(audio)
        until = skipped_samples + samples if is_last else end * PACKET_SAMPLES
        pages.append(_page(_LAST if is_last else 0, until, len(pages), audio[done:end]))
        done = end
    return b"".join(pages)


def _page(kind: int, until_sample: int, number: int, content: Sequence[bytes]) -> bytes:
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in content)

    def header(checksum: int) -> bytes:
        return _PAGE.pack(b"OggS", 0, kind, until_sample, 1, number, checksum, len(lacing)) + lacing

    body = b"".join(content)
    return header(_checksum(header(0) + body)) + body


def _checksum(page: bytes) -> int:
    """Return Ogg's checksum: zlib's polynomial, but neither reversed nor inverted."""
    reverse = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reverse.to_bytes(4, "little").translate(_REVERSED), "big")
