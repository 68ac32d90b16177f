"""The networks' weights: which are on disk, and whether they are whole; judged from the files alone.

A folder in Spleeter's checkpoint layout is complete when `checkpoint` names a prefix inside it, `<prefix>.index` is a
readable TensorFlow table, and every shard that the table counts is there and as long as the table says. Spleeter's
`.probe` is not asked for: it says that a download once ended, not that the files are still there, and a folder copied
by hand may well lack it.
"""

import json
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from ezstems.errors import BadInput, ConfigurationError, ModelMissing

logger = getLogger(__name__)

MODELS = ("auto", "official", "builtin")
SOURCES = ("official", "builtin")
STEMS = (2, 4, 5)
COMPLETE, INCOMPLETE, MISSING = "complete", "incomplete", "missing"
ABSENT = "not on disk"
BUILTIN = Path(__file__).resolve().parent.parent / "builtin"

TABLE_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES = 48  # two block handles, padded to 40 bytes, and the magic
TEXT_LIMIT_BYTES = 1 << 20  # `checkpoint` and `config.json` have a few lines
INDEX_LIMIT_BYTES = 1 << 26  # an index has some 40 bytes a variable


@dataclass(frozen=True)
class Weights:
    """Name one complete checkpoint, and what it changes in Spleeter's configuration of as many stems."""

    source: str
    stems: int
    checkpoint: Path
    overrides: dict[str, Any]

    @property
    def label(self) -> str:
        """Return the name that pages, logs and archives give these weights."""
        return f"{self.source} {self.stems}stems"


@dataclass(frozen=True)
class Status:
    """Describe one folder of weights: `state` is complete, incomplete or missing, `why` says what it lacks."""

    source: str
    stems: int
    state: str
    why: str
    path: Path
    size_bytes: int


class Incomplete(Exception):
    """Say what keeps a folder from being a model; never leaves this room."""


def find(model: str, stems: int, models_directory: Path) -> Weights:
    """Return the weights that the setting `model` means for `stems`; raise ModelMissing where there are none."""
    found = _search(model, stems, models_directory)
    if isinstance(found, Weights):
        return found
    raise ModelMissing(_missing_message(model, {stems: found}))


def require(model: str, models_directory: Path) -> dict[int, Weights]:
    """Return the weights of 2, 4 and 5 stems; raise one ModelMissing that names all that are missing."""
    found: dict[int, Weights] = {}
    missing: dict[int, str] = {}
    for stems in STEMS:
        result = _search(model, stems, models_directory)
        if isinstance(result, Weights):
            found[stems] = result
        else:
            missing[stems] = result
    if missing:
        raise ModelMissing(_missing_message(model, missing))
    return found


def status(models_directory: Path) -> list[Status]:
    """Describe the official and the bundled weights of every number of stems."""
    return [_describe(source, stems, models_directory) for stems in STEMS for source in SOURCES]


def load(source: str, stems: int, folder: Path) -> Weights:
    """Return the weights in `folder`; raise Incomplete where they are not whole."""
    try:
        if not folder.exists():
            raise Incomplete(ABSENT)
        return Weights(source, stems, _checkpoint(folder), _overrides(folder))
    except OSError as error:
        logger.info("reading %s: %s", folder, error)
        raise Incomplete("its files can't be read") from error


def _folder(source: str, stems: int, models_directory: Path) -> Path:
    return (models_directory if source == "official" else BUILTIN) / f"{stems}stems"


def _search(model: str, stems: int, models_directory: Path) -> Weights | str:
    """Return the first source that is complete, or why none is."""
    if model not in MODELS:
        raise ConfigurationError(f"EZSTEMS_MODEL={model!r} must be auto, official or builtin")
    if stems not in STEMS:
        raise BadInput(f"stems={stems!r} must be 2, 4 or 5")
    reasons = []
    for source in SOURCES if model == "auto" else (model,):
        folder = _folder(source, stems, models_directory)
        try:
            return load(source, stems, folder)
        except Incomplete as error:
            reasons.append(f"{source} {error}" if model == "auto" else str(error))
            if str(error) != ABSENT:
                logger.warning("%s %sstems passed over: %s", source, stems, error)
    return ", ".join(reasons)


def _missing_message(model: str, missing: dict[int, str]) -> str:
    what = "; ".join(f"{stems}stems ({why})" for stems, why in missing.items())
    fetch = "`ezstems models fetch " + " ".join(f"{stems}stems" for stems in missing) + "`"
    if model == "official":
        return f"official weights are missing: {what}; get them with {fetch}, or set EZSTEMS_MODEL=builtin"
    if model == "builtin":
        return f"bundled weights are missing: {what}; install ezstems again, or use the official ones: {fetch}"
    return f"weights are missing: {what}; get the official ones with {fetch}, or install ezstems again"


def _describe(source: str, stems: int, models_directory: Path) -> Status:
    folder = _folder(source, stems, models_directory)
    state, why = COMPLETE, ""
    try:
        load(source, stems, folder)
    except Incomplete as error:
        why = str(error)
        state = MISSING if why == ABSENT else INCOMPLETE
    size_bytes = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    return Status(source, stems, state, why, folder, size_bytes)


def _read(path: Path, limit_bytes: int) -> bytes:
    if not path.is_file():
        raise Incomplete(f"{path.name!r} is missing")
    with path.open("rb") as file:
        content = file.read(limit_bytes + 1)
    if not 0 < len(content) <= limit_bytes:
        raise Incomplete(f"{path.name!r} is {'too long' if content else 'empty'}")
    return content


def _checkpoint(folder: Path) -> Path:
    """Return the prefix of the checkpoint in `folder`, every file of which was found whole."""
    pointer = _read(folder / "checkpoint", TEXT_LIMIT_BYTES).decode(errors="replace")
    named = re.search(r'^\s*model_checkpoint_path\s*:\s*"([^"]*)"', pointer, re.MULTILINE)
    if named is None:
        raise Incomplete("'checkpoint' names no checkpoint")
    name = named[1]
    if not re.fullmatch(r"[\w-][\w.-]*", name, re.ASCII):
        raise Incomplete(f"'checkpoint' names {name!r}, which must be a bare name inside its folder")
    index = _read(folder / f"{name}.index", INDEX_LIMIT_BYTES)
    try:
        shards = _shard_sizes(index)
    except (ValueError, IndexError, KeyError) as error:
        logger.info("reading %s.index in %s: %r", name, folder, error)
        raise Incomplete(f"'{name}.index' is truncated or damaged") from error
    for number, least_bytes in enumerate(shards):
        shard = folder / f"{name}.data-{number:05d}-of-{len(shards):05d}"
        if not shard.is_file():
            raise Incomplete(f"{shard.name!r} is missing")
        size_bytes = shard.stat().st_size
        if size_bytes < max(least_bytes, 1):
            raise Incomplete(f"{shard.name!r} has {size_bytes} of {max(least_bytes, 1)} bytes")
    return folder / name


def _overrides(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        return {}
    try:
        overrides = json.loads(_read(path, TEXT_LIMIT_BYTES))
    except ValueError as error:
        raise Incomplete("'config.json' is not JSON") from error
    if not isinstance(overrides, dict):
        raise Incomplete("'config.json' is not a JSON object")
    return overrides


def _shard_sizes(index: bytes) -> list[int]:
    """Return the bytes that each shard must have, from the table of a checkpoint (tensor_bundle.proto).

    The table is LevelDB's: blocks of (key, value), a block of blocks, a footer. The empty key holds the number of
    shards; every other one the shard, the offset and the size of one tensor. TensorFlow never compresses it.
    """
    if len(index) < FOOTER_BYTES or not index.endswith(TABLE_MAGIC):
        raise ValueError("no table's footer")
    footer = index[-FOOTER_BYTES:]
    at = 0
    handle = []
    for _ in range(4):  # the offset and size of the meta block, then of the index block
        number, at = _varint(footer, at)
        handle.append(number)
    header: dict[int, int] = {}
    needed: Counter[int] = Counter()
    for _, block in _entries(index, *handle[2:]):
        start, at = _varint(block, 0)
        size, _ = _varint(block, at)
        for key, value in _entries(index, start, size):
            fields = _varint_fields(value)
            if not key:
                header = fields
            else:
                shard = fields.get(3, 0)
                needed[shard] = max(needed[shard], fields.get(4, 0) + fields.get(5, 0))
    count = header[1]
    if not 1 <= count <= 99999 or not needed or max(needed) >= count:
        raise ValueError(f"{count} shards, tensors in shards {sorted(needed)}")
    return [needed[shard] for shard in range(count)]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of one block; each key repeats the beginning of the one before it."""
    block = table[start : start + size]
    if start + size >= len(table) or table[start + size] != 0:  # the byte after a block: its compression
        raise ValueError("a block is cut off or compressed")
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 * (restarts + 1)
    key, at = b"", 0
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + unshared + length > end:
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
    return fields
