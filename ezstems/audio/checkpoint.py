"""TensorFlow's checkpoints (tensor_bundle.proto), read without TensorFlow.

    <prefix>.index                 where each tensor lies: its type, shape, shard, offset, size and checksum
    <prefix>.data-00000-of-00001   the tensors' bytes, plainly

The index is a LevelDB table: blocks of (key, value), a block of blocks, a footer. The empty key holds the number of
shards; every other one is a tensor's name. TensorFlow never compresses it. Nothing that it says is trusted.
"""

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import crc32c
import numpy as np

logger = getLogger(__name__)

TABLE_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES = 48  # two block handles, padded to 40 bytes, and the magic
INDEX_LIMIT_BYTES = 1 << 20  # an index has some 40 bytes a tensor, and five stems 371 tensors
NAME_LIMIT_BYTES = 250
SHARDS_LIMIT = 1000
VARINT_BYTES = 10  # of 64 bits
FIXED_BYTES = {1: 8, 2: 0, 5: 4}  # of a field's wire types; 2 names its length
DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("<f8"), 19: np.dtype("<f2")}  # types.proto


class Damaged(Exception):
    """Say which file of a checkpoint is damaged; how is for the log. Never leaves this room."""

    def __init__(self, path: Path, how: str) -> None:
        super().__init__(f"{path.name!r} is damaged")
        logger.error("%s is damaged: %s", path, how)


@dataclass(frozen=True)
class Entry:
    """Say where one tensor lies, and what its bytes are."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size_bytes: int
    checksum: int


@dataclass(frozen=True)
class Index:
    """Hold what an index says: the number of shards, and each tensor by its name."""

    shards: int
    tensors: dict[str, Entry]

    @classmethod
    def parse(cls, table: bytes) -> "Index":
        """Read an index; raise ValueError where it is truncated or damaged."""
        shards, tensors = _parse(table)
        if not 1 <= shards <= SHARDS_LIMIT or not tensors or max(one.shard for one in tensors.values()) >= shards:
            raise ValueError(f"{shards} shards, {len(tensors)} tensors")
        return cls(shards, tensors)

    def shard_bytes(self) -> list[int]:
        """Return the least bytes that each shard must have."""
        needed = [0] * self.shards
        for one in self.tensors.values():
            needed[one.shard] = max(needed[one.shard], one.offset + one.size_bytes)
        return needed


def shard_path(prefix: Path, number: int, shards: int) -> Path:
    """Return where a shard of a checkpoint lies."""
    return prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{shards:05d}")


class Checkpoint:
    """Read the tensors of one checkpoint, each when it is asked for."""

    def __init__(self, prefix: Path) -> None:
        """Read the index; raise Damaged."""
        self._prefix = prefix
        self._index_path = prefix.with_name(f"{prefix.name}.index")
        try:
            with self._index_path.open("rb") as file:
                self._index = Index.parse(file.read(INDEX_LIMIT_BYTES))
        except (OSError, ValueError) as error:
            raise Damaged(self._index_path, str(error)) from error

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return a tensor's shape; None where there is no such tensor."""
        entry = self._index.tensors.get(name)
        return entry.shape if entry else None

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor that is there as float32, whatever float type it is stored in; raise Damaged.

        It is read and not mapped: a file that is cut off meanwhile must not end the process.
        """
        entry = self._index.tensors[name]
        dtype, count = DTYPES.get(entry.dtype), math.prod(entry.shape)
        if dtype is None or count * dtype.itemsize != entry.size_bytes:
            raise Damaged(self._index_path, f"{name} is said to be {entry}")
        path = shard_path(self._prefix, entry.shard, self._index.shards)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < entry.offset + entry.size_bytes:
                    raise Damaged(path, f"{name} is cut off")
                values = np.fromfile(file, dtype, count, offset=entry.offset)
        except OSError as error:
            raise Damaged(path, f"{name} can't be read: {error}") from error
        if _masked(crc32c.crc32c(values.data)) != entry.checksum:
            raise Damaged(path, f"{name} has another checksum")
        return values.reshape(entry.shape).astype(np.float32, copy=False)


def _masked(checksum: int) -> int:
    """Return a CRC-32C as TensorFlow stores it: rotated and shifted, so that no sum is one of sums."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _parse(table: bytes) -> tuple[int, dict[str, Entry]]:
    if len(table) < FOOTER_BYTES or not table.endswith(TABLE_MAGIC):
        raise ValueError("no table's footer")
    footer, at = table[-FOOTER_BYTES:], 0
    handle = []
    for _ in range(4):  # the offset and size of the meta block, then of the index block
        number, at = _varint(footer, at)
        handle.append(number)
    shards = total = 0
    tensors: dict[str, Entry] = {}
    for _, block in _entries(table, *handle[2:]):
        start, at = _varint(block, 0)
        size, _ = _varint(block, at)
        total += size
        if total > len(table):
            raise ValueError("it names a block again and again")
        for key, value in _entries(table, start, size):
            if not key:
                header = dict(_fields(value))
                shards = _number(header, 1)
                if _number(header, 2):
                    raise ValueError("its tensors are big-endian")
            else:
                tensors[key.decode()] = _entry(value)
    return shards, tensors


def _entry(message: bytes) -> Entry:
    fields = dict(_fields(message))
    if 7 in fields:
        raise ValueError("a tensor is stored in slices")
    dimensions = [_dimension(value) for number, value in _fields(_bytes(fields, 2)) if number == 2]
    shard, offset, size = (_number(fields, number) for number in (3, 4, 5))
    checksum = int.from_bytes(_bytes(fields, 6), "little")
    return Entry(_number(fields, 1), tuple(dimensions), shard, offset, size, checksum)


def _dimension(message: "int | bytes") -> int:
    return _number(dict(_fields(_bytes({2: message}, 2))), 1)


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of one block; each key repeats the beginning of the one before it."""
    if start + size >= len(table) or table[start + size] != 0:  # the byte after a block: its compression
        raise ValueError("a block is cut off or compressed")
    block = table[start : start + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 * (restarts + 1)
    key, at = b"", 0
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or shared + unshared > NAME_LIMIT_BYTES or at + unshared + length > end:
            raise ValueError("an entry leaves its block")
        key = key[:shared] + block[at : at + unshared]
        at += unshared + length
        yield key, block[at - length : at]


def _fields(message: bytes) -> "Iterator[tuple[int, int | bytes]]":
    """Yield the numbers and values of a protocol buffer's fields: integers, or bytes where the type isn't known."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire not in FIXED_BYTES:
            raise ValueError(f"wire type {wire}")
        size, at = (FIXED_BYTES[wire], at) if wire != 2 else _varint(message, at)
        if at + size > len(message):
            raise ValueError("a field leaves its message")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * VARINT_BYTES, 7):
        if at >= len(data):
            raise ValueError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is longer than 64 bits")


def _number(fields: "dict[int, int | bytes]", number: int) -> int:
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise ValueError(f"field {number} is not a number")
    return value


def _bytes(fields: "dict[int, int | bytes]", number: int) -> bytes:
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise ValueError(f"field {number} is a number")
    return value
