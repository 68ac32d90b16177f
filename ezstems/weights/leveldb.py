"""LevelDB's tables as TensorFlow writes them, uncompressed: blocks of (key, value), a block of blocks, a footer.

After each block comes a byte for its compression, then the checksum of both. What is damaged raises ValueError, after
no more work than its length is worth.
"""

import struct
from collections.abc import Iterator

import crc32c

from ezstems.weights.protobuf import varint

TABLE_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES = 48  # two block handles, padded to 40 bytes, and the magic
KEY_LIMIT_BYTES = 250  # each entry copies its key; a variable's name has some 40 characters
TRAILER_BYTES = 5


def entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table; raise ValueError where it is truncated or damaged."""
    if len(table) < FOOTER_BYTES or not table.endswith(TABLE_MAGIC):
        raise ValueError("no table's footer")
    footer, at, handle = table[-FOOTER_BYTES:], 0, []
    for _ in range(4):  # the offset and size of the meta block, then of the index block
        number, at = varint(footer, at)
        handle.append(number)
    end = 0
    for _, block in _block(table, *handle[2:]):
        start, at = varint(block, 0)
        size, _ = varint(block, at)
        if start < end:  # in their order, each once: a table that names one block a million times has no end
            raise ValueError("a block begins inside another")
        end = start + size
        yield from _block(table, start, size)


def masked(checksum: int) -> int:
    """Return a CRC-32C as LevelDB and TensorFlow store it: a checksum of what holds checksums would be weak."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _block(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of one block; each key repeats the beginning of the one before it."""
    block, trailer = table[start : start + size], table[start + size : start + size + TRAILER_BYTES]
    if len(trailer) < TRAILER_BYTES or trailer[0] != 0:
        raise ValueError("a block is cut off or compressed")
    if int.from_bytes(trailer[1:], "little") != masked(crc32c.crc32c(block + trailer[:1])):
        raise ValueError("a block has another checksum")
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block is shorter than its list of restarts")
    key, at = b"", 0
    while at < end:
        shared, at = varint(block, at)
        unshared, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or shared + unshared > KEY_LIMIT_BYTES or at + unshared + length > end:
            raise ValueError("an entry leaves its block")
        key = key[:shared] + block[at : at + unshared]
        at += unshared + length
        yield key, block[at - length : at]
