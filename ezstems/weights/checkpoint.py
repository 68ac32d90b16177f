"""TensorFlow's checkpoints (tensor_bundle.proto), read without TensorFlow.

    <prefix>.index                 where each tensor lies: its type, shape, shard, offset, size and checksum
    <prefix>.data-00000-of-00001   the tensors' bytes, plainly

The index is a LevelDB table: its empty key holds the number of shards, every other one is a tensor's name. Nothing that
it says is trusted.
"""

import math
import os
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import crc32c
import numpy as np

from ezstems.weights import leveldb, protobuf

logger = getLogger(__name__)

INDEX_LIMIT_BYTES = 1 << 20  # an index has some 40 bytes a tensor, and five stems 371 tensors
TENSORS_LIMIT = 10_000
SHARDS_LIMIT = 1000
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
        shards, tensors = 0, {}
        for key, value in leveldb.entries(table):
            if key:
                tensors[key.decode()] = _entry(value)
                if len(tensors) > TENSORS_LIMIT:
                    raise ValueError(f"it has more than {TENSORS_LIMIT} tensors")
                continue
            header = dict(protobuf.fields(value))
            shards = protobuf.number(header, 1)
            if protobuf.number(header, 2):
                raise ValueError("its tensors are big-endian")
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
        if leveldb.masked(crc32c.crc32c(values.data)) != entry.checksum:
            raise Damaged(path, f"{name} has another checksum")
        return values.reshape(entry.shape).astype(np.float32, copy=False)


def _entry(message: bytes) -> Entry:
    fields = dict(protobuf.fields(message))
    if 7 in fields:
        raise ValueError("a tensor is stored in slices")
    shape = protobuf.fields(protobuf.content(fields, 2))
    dimensions = [dict(protobuf.fields(protobuf.content({2: value}, 2))) for number, value in shape if number == 2]
    return Entry(
        protobuf.number(fields, 1),
        tuple(protobuf.number(dimension, 1) for dimension in dimensions),
        shard=protobuf.number(fields, 3),
        offset=protobuf.number(fields, 4),
        size_bytes=protobuf.number(fields, 5),
        checksum=int.from_bytes(protobuf.content(fields, 6), "little"),
    )
