"""The table of a TensorFlow checkpoint, `<prefix>.index`: how many bytes each shard must have (tensor_bundle.proto).

It is LevelDB's: blocks of (key, value), a block of blocks, a footer. The empty key holds the number of shards; every
other one the shard, the offset and the size of one tensor. TensorFlow never compresses it. After each block comes a
byte for its compression, then its checksum. What is damaged raises ValueError, after no more work than its length is
worth.
"""

import struct
from collections import Counter
from collections.abc import Iterator

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES = 48  # two block handles, padded to 40 bytes, and the magic
VARINT_BYTES = 10  # of a number of 64 bits
KEY_LIMIT_BYTES = 1024  # each entry copies its key; a variable's name has some 40 characters
SHARDS_LIMIT = 99_999  # what five digits can count
TRAILER_BYTES = 5
CASTAGNOLI = 0x82F63B78  # CRC-32C's polynomial, its bits reversed
MASK = 0xA282EAD8  # LevelDB's: a checksum of what holds checksums would be weak


def shard_sizes(index: bytes) -> list[int]:
    """Return the least size of each shard, from the whole table."""
    if len(index) < FOOTER_BYTES or not index.endswith(MAGIC):
        raise ValueError("no table's footer")
    footer = index[-FOOTER_BYTES:]
    at = 0
    handle = []
    for _ in range(4):  # the offset and size of the meta block, then of the index block
        number, at = _varint(footer, at)
        handle.append(number)
    header: dict[int, int] = {}
    needed: Counter[int] = Counter()
    end = 0
    for _, block in _entries(index, *handle[2:]):
        start, at = _varint(block, 0)
        size, _ = _varint(block, at)
        if start < end:  # in their order, each once: a table that names one block a million times has no end
            raise ValueError("a block begins inside another")
        end = start + size
        for key, value in _entries(index, start, size):
            fields = _varint_fields(value)
            if not key:
                header = fields
            else:
                shard = fields.get(3, 0)
                needed[shard] = max(needed[shard], fields.get(4, 0) + fields.get(5, 0))
    count = header.get(1, 0)
    if not 1 <= count <= SHARDS_LIMIT or not needed or max(needed) >= count:
        raise ValueError(f"{count} shards, tensors in {len(needed)} of them")
    return [needed[shard] for shard in range(count)]


def checksum(data: bytes) -> int:
    """Return the masked CRC-32C that stands after a block."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ CASTAGNOLI * (byte & 1)
    return byte


_CRC = [_crc_of(byte) for byte in range(256)]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(data[at : at + VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError("a number has no end")


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of one block; each key repeats the beginning of the one before it."""
    block, trailer = table[start : start + size], table[start + size : start + size + TRAILER_BYTES]
    if len(trailer) < TRAILER_BYTES or trailer[0] != 0:
        raise ValueError("a block is cut off or compressed")
    if int.from_bytes(trailer[1:], "little") != checksum(block + trailer[:1]):
        raise ValueError("a block's checksum is another")
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block is shorter than its list of restarts")
    key, at = b"", 0
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or shared + unshared > KEY_LIMIT_BYTES or at + unshared + length > end:
            raise ValueError("an entry leaves its block")
        key = key[:shared] + block[at : at + unshared]
        at += unshared + length
        yield key, block[at - length : at]


def _varint_fields(message: bytes) -> dict[int, int]:
    """Return the integer fields of a protocol buffer's message; other fields are skipped."""
    fields: dict[int, int] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            fields[tag >> 3], at = _varint(message, at)
        elif wire == 2:
            length, at = _varint(message, at)
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
    if at > len(message):
        raise ValueError("a field leaves its message")
    return fields
