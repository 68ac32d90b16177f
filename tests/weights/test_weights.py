"""Whole checkpoints are found and named; whatever lacks a piece is not a model."""

import json
import logging
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import crc32c
import pytest

from ezstems.errors import BadInput, ConfigurationError, ModelMissing
from ezstems.weights import folders, leveldb
from ezstems.weights.checkpoint import INDEX_LIMIT_BYTES, TENSORS_LIMIT, Index
from ezstems.weights.leveldb import TABLE_MAGIC
from tests.support.tensorflow import tensorflow


def varint(number: int) -> bytes:
    head = b""
    while number > 0x7F:
        head += bytes([number & 0x7F | 0x80])
        number >>= 7
    return head + bytes([number])


def block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    rows = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    return rows + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def sealed(content: bytes) -> bytes:
    """Put what says that it isn't compressed, and its checksum, behind a block."""
    return content + b"\0" + leveldb.masked(crc32c.crc32c(content + b"\0")).to_bytes(4, "little")


def table_of(data: bytes, handles: Sequence[tuple[int, int]]) -> bytes:
    """Build a table whose block of blocks names places in `data`."""
    top = block([(b"u", varint(start) + varint(size)) for start, size in handles])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(top))
    return data + sealed(top) + footer.ljust(40, b"\0") + TABLE_MAGIC


def table(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Build a table of one block."""
    data = block(entries)
    return table_of(sealed(data), [(0, len(data))])


def _index(shards: Sequence[int]) -> bytes:
    """Build the table of a checkpoint whose shard N holds one tensor of `shards[N]` bytes."""
    entries = [(b"", b"\x08" + varint(len(shards)))]
    for number, size_bytes in enumerate(shards):
        value = b"\x08\x01" + b"\x12\x00" + b"\x18" + varint(number) + b"\x28" + varint(size_bytes)
        entries.append((b"tensor%d" % number, value + b"\x35\0\0\0\0"))
    return table(entries)


def write_checkpoint(folder: Path, shards: Sequence[bytes] = (b"weights",)) -> Path:
    """Write a complete checkpoint in Spleeter's layout, `shards` its contents."""
    folder.mkdir(parents=True)
    pointer = 'model_checkpoint_path: "model"\nall_model_checkpoint_paths: "model"\n'
    (folder / "checkpoint").write_text(pointer)
    (folder / "model.index").write_bytes(_index([len(shard) for shard in shards]))
    (folder / "model.meta").write_bytes(b"a graph")
    for number, shard in enumerate(shards):
        (folder / f"model.data-{number:05d}-of-{len(shards):05d}").write_bytes(shard)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty folder of official models."""
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the bundled models' place."""
    path = tmp_path / "builtin"
    path.mkdir()
    monkeypatch.setattr(folders, "BUILTIN", path)
    return path


def test_official_is_found_and_named(models: Path) -> None:
    folder = write_checkpoint(models / "4stems")
    found = folders.find("official", 4, models)
    assert found == folders.Weights("official", 4, folder / "model", {})
    assert found.label == "official 4stems"


def test_builtin_brings_its_overrides(models: Path, builtin: Path) -> None:
    folder = write_checkpoint(builtin / "2stems")
    overrides = {"model": {"params": {"conv_n_filters": [8, 16]}}}
    (folder / "config.json").write_text(json.dumps(overrides))
    found = folders.find("builtin", 2, models)
    assert found == folders.Weights("builtin", 2, folder / "model", overrides)
    assert found.label == "builtin 2stems"


def test_each_setting_chooses_its_source(models: Path, builtin: Path) -> None:
    write_checkpoint(builtin / "5stems")
    assert folders.find("auto", 5, models).source == "builtin"
    with pytest.raises(ModelMissing):
        folders.find("official", 5, models)
    write_checkpoint(models / "5stems")
    assert folders.find("auto", 5, models).source == "official"
    assert folders.find("builtin", 5, models).source == "builtin"


def test_auto_passes_a_half_copied_official_over_and_says_so(
    models: Path, builtin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(builtin / "2stems")
    (write_checkpoint(models / "2stems") / "model.index").unlink()
    with caplog.at_level(logging.WARNING):
        assert folders.find("auto", 2, models).source == "builtin"
    assert "official 2stems passed over: 'model.index' is missing" in caplog.text


def test_official_vocals_come_before_bundled_weights(models: Path, builtin: Path) -> None:
    for stems in folders.STEM_COUNTS:
        write_checkpoint(builtin / f"{stems}stems")
    write_checkpoint(models / "2stems")
    write_checkpoint(models / "4stems")
    found = folders.require("auto", models)
    assert [one.label for one in found.values()] == [
        "official 2stems", "official 4stems", "official vocals + builtin 5stems"
    ]  # fmt: skip
    assert found[2].parts == (found[2],) and found[4].parts == (found[4],)
    assert found[5].parts == (found[2], folders.find("builtin", 5, models))
    with pytest.raises(ModelMissing):
        folders.find("official", 5, models)
    assert folders.find("builtin", 5, models).label == "builtin 5stems"


def test_half_copied_official_vocals_are_passed_over(
    models: Path, builtin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(builtin / "4stems")
    (write_checkpoint(models / "2stems") / "model.index").unlink()
    assert folders.find("auto", 4, models).label == "builtin 4stems"
    assert "official vocals passed over for builtin 4stems: 'model.index' is missing" in caplog.text


def test_official_vocals_alone_are_no_model_of_more_stems(models: Path) -> None:
    write_checkpoint(models / "2stems")
    with pytest.raises(ModelMissing, match=r"4stems \(official not on disk, builtin not on disk\)"):
        folders.find("auto", 4, models)


def test_missing_weights_say_how_to_get_them(models: Path) -> None:
    with pytest.raises(ModelMissing) as official:
        folders.find("official", 2, models)
    assert str(official.value) == (
        "official weights are missing: 2stems (not on disk); "
        "get them with `ezstems models fetch 2stems`, or set EZSTEMS_MODEL=builtin"
    )
    with pytest.raises(ModelMissing, match="bundled weights are missing: 4stems .*install ezstems again"):
        folders.find("builtin", 4, models)
    with pytest.raises(ModelMissing, match=r"2stems \(official not on disk, builtin not on disk\)"):
        folders.find("auto", 2, models)


def test_require_names_all_that_are_missing(models: Path) -> None:
    write_checkpoint(models / "4stems")
    (write_checkpoint(models / "5stems") / "checkpoint").unlink()
    with pytest.raises(ModelMissing) as error:
        folders.require("official", models)
    assert "2stems (not on disk); 5stems ('checkpoint' is missing); " in str(error.value)
    assert "`ezstems models fetch 2stems 5stems`" in str(error.value)
    assert "4stems" not in str(error.value)


def test_require_returns_every_number_of_stems(models: Path, builtin: Path) -> None:
    for stems in folders.STEM_COUNTS:
        write_checkpoint(builtin / f"{stems}stems")
    write_checkpoint(models / "4stems")
    found = folders.require("auto", models)
    assert {stems: each.source for stems, each in found.items()} == {2: "builtin", 4: "official", 5: "builtin"}


def test_junk_arguments_are_echoed_with_their_rule(models: Path) -> None:
    with pytest.raises(ConfigurationError, match="EZSTEMS_MODEL='Official' must be auto, official or builtin"):
        folders.find("Official", 2, models)
    with pytest.raises(BadInput, match="stems=3 must be 2, 4 or 5"):
        folders.find("auto", 3, models)


def test_probe_is_not_asked_for_and_proves_nothing(models: Path) -> None:
    folder = write_checkpoint(models / "2stems")
    assert not (folder / ".probe").exists()
    assert folders.find("official", 2, models)
    (folder / ".probe").write_text("OK")
    (folder / "model.data-00000-of-00001").unlink()
    with pytest.raises(ModelMissing):
        folders.find("official", 2, models)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("checkpoint", None, "'checkpoint' is missing"),
        ("checkpoint", b"", "'checkpoint' is empty"),
        ("checkpoint", b'all_model_checkpoint_paths: "model"\n', "names no checkpoint"),
        ("checkpoint", b'model_checkpoint_path: "other"\n', "'other.index' is missing"),
        ("checkpoint", b'model_checkpoint_path: ""\n', "must end in a bare name"),
        ("checkpoint", b'model_checkpoint_path: "/srv/other"\n', "'other.index' is missing"),
        ("checkpoint", b'model_checkpoint_path: "/srv/"\n', "must end in a bare name"),
        ("checkpoint", b'model_checkpoint_path: "../.."\n', "must end in a bare name"),
        ("checkpoint", b'model_checkpoint_path: "."\n', "must end in a bare name"),
        ("checkpoint", b'model_checkpoint_path: "model\n', "names no checkpoint"),
        ("checkpoint", b"\xff" * 100, "names no checkpoint"),
        ("checkpoint", b"x" * (folders.TEXT_LIMIT_BYTES + 1), "'checkpoint' is too long"),
        ("model.index", None, "'model.index' is missing"),
        ("model.index", b"", "'model.index' is empty"),
        ("model.index", _index([3, 4])[:-1], "'model.index' is truncated or damaged"),
        ("model.index", _index([3, 4])[:30], "'model.index' is truncated or damaged"),
        ("model.index", _index([3, 4])[40:], "'model.index' is truncated or damaged"),
        ("model.index", bytes(200) + TABLE_MAGIC, "'model.index' is truncated or damaged"),
        ("model.index", _index([3, 4])[:-8] + bytes(8), "'model.index' is truncated or damaged"),
        ("model.index", _index([]), "'model.index' is truncated or damaged"),
        ("model.index", _index([3, 4, 5]), "'model.data-00000-of-00003' is missing"),
        ("model.index", _index([3, 5]), "'model.data-00001-of-00002' has 4 of 5 bytes"),
        ("model.data-00000-of-00002", None, "'model.data-00000-of-00002' is missing"),
        ("model.data-00001-of-00002", None, "'model.data-00001-of-00002' is missing"),
        ("model.data-00001-of-00002", b"", "'model.data-00001-of-00002' has 0 of 4 bytes"),
        ("model.data-00000-of-00002", b"ab", "'model.data-00000-of-00002' has 2 of 3 bytes"),
        ("config.json", b"{", "'config.json' is not JSON"),
        ("config.json", b"[" * 500_000, "'config.json' is not JSON"),
        ("config.json", b"[1]", "'config.json' is not a JSON object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_lacks_a_piece_is_no_model(models: Path, name: str, content: bytes | None, why: str) -> None:
    folder = write_checkpoint(models / "2stems", (b"abc", b"defg"))
    assert folders.find("official", 2, models)
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ModelMissing) as error:
        folders.find("official", 2, models)
    assert why in str(error.value)
    assert str(models) not in str(error.value)


@pytest.mark.parametrize(
    "named",
    ["/home/somebody/training/2stems/model", "C:\\\\models\\\\2stems\\\\model", "../2stems/model", "./model"],
)
def test_a_checkpoint_that_names_where_its_files_once_lay_is_the_one_beside_it(models: Path, named: str) -> None:
    folder = write_checkpoint(models / "2stems")
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{named}"\nall_model_checkpoint_paths: "{named}"\n')
    assert folders.find("official", 2, models).checkpoint == folder / "model"


def test_a_checkpoint_of_many_empty_lines_takes_no_time(models: Path) -> None:
    folder = write_checkpoint(models / "2stems")
    (folder / "checkpoint").write_text("\n" * (folders.TEXT_LIMIT_BYTES - 1))
    assert seconds_to_refuse(lambda: folders.load("official", 2, folder)) < 5


def test_empty_folder_and_a_file_in_its_place_are_no_model(models: Path) -> None:
    (models / "2stems").mkdir()
    (models / "4stems").write_text("not a folder")
    for stems in (2, 4):
        with pytest.raises(ModelMissing, match="'checkpoint' is missing"):
            folders.find("official", stems, models)


def test_a_shard_that_the_index_gives_no_tensor_must_still_hold_something(models: Path) -> None:
    folder = write_checkpoint(models / "2stems", (b"",))
    with pytest.raises(ModelMissing, match="has 0 of 1 bytes"):
        folders.find("official", 2, models)
    (folder / "model.data-00000-of-00001").write_bytes(b"x")
    assert folders.find("official", 2, models)


def test_status_tells_complete_incomplete_and_missing_apart(models: Path, builtin: Path) -> None:
    folder = write_checkpoint(models / "2stems", (b"abc",))
    (write_checkpoint(builtin / "4stems") / "model.data-00000-of-00001").unlink()
    rows = {(row.source, row.stems): row for row in folders.status(models)}
    assert list(rows) == [(source, stems) for stems in (2, 4, 5) for source in ("official", "builtin")]
    whole = rows["official", 2]
    assert (whole.state, whole.why, whole.path) == ("complete", "", folder)
    assert whole.size_bytes == sum(path.stat().st_size for path in folder.iterdir()) > 0
    half = rows["builtin", 4]
    assert (half.state, half.why) == ("incomplete", "'model.data-00000-of-00001' is missing")
    assert half.size_bytes > 0
    none = rows["official", 5]
    assert (none.state, none.why, none.path, none.size_bytes) == ("missing", "not on disk", models / "5stems", 0)


def test_a_damaged_index_never_does_worse_than_not_being_a_model(models: Path) -> None:
    folder = write_checkpoint(models / "2stems", (b"abc", b"defg"))
    whole = (folder / "model.index").read_bytes()
    dice = random.Random(7)
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged) - 8)] = dice.randrange(256)
        (folder / "model.index").write_bytes(damaged)
        try:
            folders.load("official", 2, folder)
        except folders.Incomplete:
            refused += 1
    assert refused > 100


def test_an_index_damaged_at_any_byte_is_refused() -> None:
    whole = _index([3, 4])
    assert Index.parse(whole).shard_bytes() == [3, 4]
    unnoticed = set()
    for at in range(len(whole)):
        for byte in {*range(256)} - {whole[at]}:
            try:
                sizes = Index.parse(whole[:at] + bytes([byte]) + whole[at + 1 :]).shard_bytes()
            except ValueError:
                continue
            assert sizes == [3, 4]
            unnoticed.add(at)
    footer = len(whole) - leveldb.FOOTER_BYTES
    padding = range(whole.index(b"\0" * 20, footer), len(whole) - len(TABLE_MAGIC))
    unread = {footer, footer + 1, padding.start - 1, *padding}  # where a block lies that nobody needs, and zeros
    assert unnoticed <= unread


def _big() -> bytes:
    """Return a block of very many entries, each as short as can be."""
    return b"\0\0\0" * (INDEX_LIMIT_BYTES // 32) + (0).to_bytes(4, "little")


def _long_keys() -> bytes:
    """Return a block whose entries of a few bytes each repeat a very long key."""
    first = b"\0" + varint(1 << 18) + b"\0" + b"k" * (1 << 18)
    return first + (varint(1 << 18) + b"\0\0") * (INDEX_LIMIT_BYTES // 32) + (0).to_bytes(4, "little")


def _many() -> bytes:
    """Return a block of more tensors than a network has, their long keys mostly the first one's."""
    keys = [b"%06d" % number for number in range(TENSORS_LIMIT + 2)]
    rows = [b"\xc8\x01\x06\0" + key for key in keys]
    first = b"\0\xc8\x01\0" + b"k" * 200
    return first + b"".join(rows) + (0).to_bytes(4, "little")


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(b"\xff" * (INDEX_LIMIT_BYTES - 8) + TABLE_MAGIC, id="numbers without an end"),
        pytest.param(table_of(sealed(b"\xff" * 99_999), [(0, 99_999)]), id="an entry without an end"),
        pytest.param(table_of(sealed(_big()), [(0, len(_big()))] * 60_000), id="one block named again and again"),
        pytest.param(table_of(sealed(_long_keys()), [(0, len(_long_keys()))]), id="long keys"),
        pytest.param(table_of(sealed(_many()), [(0, len(_many()))]), id="many tensors"),
        pytest.param(table_of(bytes(9), [(0, 1 << 69)]), id="a block of a zettabyte"),
    ],
)
def test_a_made_up_index_is_refused_within_bounds(models: Path, index: bytes) -> None:
    assert len(index) <= INDEX_LIMIT_BYTES
    folder = write_checkpoint(models / "2stems")
    (folder / "model.index").write_bytes(index)
    tracemalloc.start()
    try:
        assert seconds_to_refuse(lambda: folders.load("official", 2, folder)) < 30
        assert tracemalloc.get_traced_memory()[1] < 8 * INDEX_LIMIT_BYTES
    finally:
        tracemalloc.stop()


def test_the_checksum_is_tensorflows() -> None:
    crc = 0xE3069283  # of CRC-32C for these nine digits, as its catalogue has it
    expected = ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
    assert leveldb.masked(crc32c.crc32c(b"123456789")) == expected


def seconds_to_refuse(act: Callable[[], object]) -> float:
    """Return how long a model was looked at before it was found to be none."""
    began = time.thread_time()  # on a busy machine as on another
    with pytest.raises(folders.Incomplete):
        act()
    return time.thread_time() - began


def test_tensorflows_own_checkpoints_are_measured_to_the_byte(tmp_path: Path) -> None:
    tf = tensorflow()
    folder = tmp_path / "2stems"
    folder.mkdir()
    parts = [str(tmp_path / "part0"), str(tmp_path / "part1")]
    for number, part in enumerate(parts):
        names = [f"net{number}/conv2d_{layer}/kernel" for layer in range(150)]  # several blocks of the table
        tensors = [tf.zeros((3, layer + 1)) for layer in range(150)]
        tf.raw_ops.SaveV2(prefix=part, tensor_names=names, shape_and_slices=[""] * 150, tensors=tensors)
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(folder / "model"))
    (folder / "checkpoint").write_text('model_checkpoint_path: "model"\n')
    assert folders.load("official", 2, folder).checkpoint == folder / "model"
    shards = sorted(folder.glob("model.data-*"))
    assert len(shards) == 2
    for shard in shards:
        content = shard.read_bytes()
        shard.write_bytes(content[:-1])
        with pytest.raises(folders.Incomplete, match=f"has {len(content) - 1} of {len(content)} bytes"):
            folders.load("official", 2, folder)
        shard.write_bytes(content)
    index = (folder / "model.index").read_bytes()
    for length in range(0, len(index), 97):
        (folder / "model.index").write_bytes(index[:length])
        with pytest.raises(folders.Incomplete):
            folders.load("official", 2, folder)
