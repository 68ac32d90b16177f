"""TensorFlow's checkpoints are read as TensorFlow reads them; what is damaged is refused by the name of its file."""

import random
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ezstems.weights import checkpoint, leveldb
from ezstems.weights.checkpoint import Checkpoint, Damaged, Index
from tests.support.tensorflow import tensorflow
from tests.weights.test_weights import block, sealed, table, table_of, varint

LAYERS = 150  # their names fill several blocks of the table
Change = Callable[[bytes], bytes]


def values(number: int) -> dict[str, np.ndarray]:
    """Return the tensors of one shard, of three types."""
    dice = np.random.default_rng(number)
    kinds = (np.float32, np.float16, np.float64)
    steps = {f"net{number}/a/step": np.int64(7), f"net{number}/scalar": np.float32(0.5)}
    shapes = {f"net{number}/conv2d_{at}/kernel": (3, at + 1) for at in range(LAYERS)}
    return steps | {name: dice.normal(size=shapes[name]).astype(kinds[shapes[name][1] % 3]) for name in shapes}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the prefix of a checkpoint of two shards that TensorFlow wrote."""
    tf, folder = tensorflow(), tmp_path_factory.mktemp("written")
    parts = [str(folder / f"part{number}") for number in range(2)]
    for number, part in enumerate(parts):
        tensors = values(number)
        names, slices = list(tensors), [""] * len(tensors)
        tf.raw_ops.SaveV2(prefix=part, tensor_names=names, shape_and_slices=slices, tensors=list(tensors.values()))
    (folder / "2stems").mkdir()
    prefix = folder / "2stems" / "model"
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix))
    prefix.with_name("checkpoint").write_text('model_checkpoint_path: "model"\n')
    assert len(list(prefix.parent.glob("model.data-*"))) == 2
    return prefix


@pytest.fixture
def prefix(written: Path, tmp_path: Path) -> Path:
    """Return that of a copy that a test may damage."""
    return shutil.copytree(written.parent, tmp_path / "2stems") / "model"


def test_every_tensor_of_every_shard_is_read(written: Path) -> None:
    read = Checkpoint(written)
    for number in range(2):
        for name, expected in values(number).items():
            assert read.shape(name) == expected.shape
            if expected.dtype.kind == "f":
                actual = read.tensor(name)
                assert actual.dtype == np.float32 and np.array_equal(actual, expected.astype(np.float32)), name
    assert read.shape("net2/scalar") is None


def test_one_tensor_at_a_time_is_in_memory(tmp_path: Path) -> None:
    tf, prefix = tensorflow(), tmp_path / "model"
    size_bytes, names = 4 << 20, [f"kernel{number}" for number in range(8)]
    tensors = [np.full(size_bytes // 4, number, np.float32) for number in range(8)]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * 8, tensors=tensors)
    tracemalloc.start()
    try:
        read = Checkpoint(prefix)
        for name in names:
            assert read.tensor(name)[-1] == int(name[-1])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1.5 * size_bytes


def flipped(content: bytes) -> bytes:
    """Return content with a single bit changed."""
    return content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("model.data-00000-of-00002", flipped, "has another checksum"),
        ("model.data-00001-of-00002", lambda content: content[:-1], "is cut off"),
        ("model.data-00001-of-00002", lambda content: b"", "is cut off"),
        ("model.data-00001-of-00002", None, "can't be read"),
        ("model.index", lambda content: content[:-1], "no table's footer"),
        ("model.index", lambda content: b"", "no table's footer"),
        ("model.index", None, "No such file"),
    ],
)
def test_what_is_damaged_is_refused_by_name(
    name: str, change: Change | None, why: str, prefix: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = prefix.with_name(name)
    content = file.read_bytes()
    file.unlink()
    if change is not None:
        file.write_bytes(change(content))
    with pytest.raises(Damaged, match=f"^'{name}' is damaged$"):
        read = Checkpoint(prefix)
        for tensor in values(0) | values(1):
            if not tensor.endswith("/step"):
                read.tensor(tensor)
    assert why in caplog.text and str(file) in caplog.text


def test_a_tensor_that_is_no_float_is_refused(written: Path) -> None:
    with pytest.raises(Damaged, match=r"^'model.index' is damaged$"):
        Checkpoint(written).tensor("net0/a/step")


def test_each_cut_and_each_flipped_bit_of_an_index_is_refused_or_read_within_bounds(prefix: Path) -> None:
    index, dice, refused = prefix.with_name("model.index"), random.Random(3), 0
    whole = index.read_bytes()
    for length in range(0, len(whole), 53):
        with pytest.raises(ValueError):
            Index.parse(whole[:length])
    for _ in range(300):
        damaged = bytearray(whole)
        at = dice.randrange(len(whole))
        damaged[at] ^= 1 << dice.randrange(8)
        index.write_bytes(damaged)
        try:
            read = Checkpoint(prefix)
            for name in values(0):
                if read.shape(name) is not None and not name.endswith("/step"):
                    read.tensor(name)
        except Damaged:
            refused += 1
    assert refused > 100


def of(*entries: tuple[bytes, bytes], shards: int = 1) -> bytes:
    """Return an index of these tensors."""
    return table([(b"", b"\x08" + varint(shards)), *entries])


ENTRY = b"\x08\x01\x12\x00\x28\x04\x35\0\0\0\0"  # a float32, a scalar, of 4 bytes


@pytest.mark.parametrize(
    ("index", "why"),
    [
        (of((b"a", b"\x28" + b"\x80" * 10 + b"\x01")), "longer than 64 bits"),
        (of((b"a", b"\x28" + b"\xff" * 100_000)), "longer than 64 bits"),
        (of((b"a", b"\x08\x80")), "is cut off"),
        (of((b"a", b"\x12\x7f")), "leaves its message"),
        (of((b"a", b"\x35\0\0")), "leaves its message"),
        (of((b"a", b"\x0b")), "wire type 3"),
        (of((b"a", b"\x0a\x00" + ENTRY[2:])), "field 1 is not a number"),
        (of((b"a", b"\x10\x01")), "field 2 is a number"),
        (of((b"a", b"\x12\x02\x10\x01")), "field 2 is a number"),
        (of((b"a", ENTRY + b"\x3a\x00")), "stored in slices"),
        (of((b"\xff", ENTRY)), "can't decode"),
        (of((b"a" * (leveldb.KEY_LIMIT_BYTES + 1), ENTRY)), "leaves its block"),
        (of((b"a", b"\x18\x01" + ENTRY)), "1 shards, 1 tensors"),
        (of((b"a", ENTRY), shards=checkpoint.SHARDS_LIMIT + 1), "1001 shards"),
        (of(), "1 shards, 0 tensors"),
        (table([(b"", b"\x08\x01\x10\x01"), (b"a", ENTRY)]), "big-endian"),
        (table_of(sealed(block([(b"a", ENTRY)])), [(0, len(block([(b"a", ENTRY)])))] * 2), "inside another"),
        (table([(b"%d" % at, ENTRY) for at in range(checkpoint.TENSORS_LIMIT + 1)]), "more than 10000 tensors"),
    ],
)
def test_lies_of_an_index_are_found_soon(index: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Index.parse(index)


@pytest.mark.parametrize("size", [1 << 62, 1 << 40])
def test_a_tensor_larger_than_its_file_takes_no_memory(size: int, prefix: Path) -> None:
    dimension = b"\x08" + varint(size)
    dimensions = b"\x12" + varint(len(dimension)) + dimension
    entry = b"\x08\x01\x12" + varint(len(dimensions)) + dimensions + b"\x28" + varint(4 * size) + b"\x35\0\0\0\0"
    prefix.with_name("model.index").write_bytes(of((b"a", entry), shards=2))
    read = Checkpoint(prefix)
    assert read.shape("a") == (size,)
    with pytest.raises(Damaged, match="'model.data-00000-of-00002' is damaged"):
        read.tensor("a")
