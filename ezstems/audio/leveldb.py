"""LevelDB's tables as TensorFlow writes them, uncompressed: blocks of (key, value), a block of blocks, a footer."""

import struct
from collections.abc import Iterator

from ezstems.audio.protobuf import varint

TABLE_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES = 48  # two block handles, padded to 40 bytes, and the magic
KEY_LIMIT_BYTES = 250


def entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table; raise ValueError where it is truncated or damaged."""
    if len(table) < FOOTER_BYTES or not table.endswith(TABLE_MAGIC):
        raise ValueError("no table's footer")
    footer, at, handle = table[-FOOTER_BYTES:], 0, []
    for _ in range(4):  # the offset and size of the meta block, then of the index block
        number, at = varint(footer, at)
        handle.append(number)
    total = 0
    for _, block in _block(table, *handle[2:]):
        start, at = varint(block, 0)
        size, _ = varint(block, at)
        total += size
        if total > len(table):
            raise ValueError("it names a block again and again")
        yield from _block(table, start, size)


def _block(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of one block; each key repeats the beginning of the one before it."""
    if start + size >= len(table) or table[start + size] != 0:  # the byte after a block: its compression
        raise ValueError("a block is cut off or compressed")
    block = table[start : start + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 * (restarts + 1)
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
