"""WAV files with samples in wider containers, tags in front, untold lengths: what other players take."""

import struct
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import riff
from ezstems.audio.decode import check
from tests.audio.test_decode import decoded
from tests.support.audio_files import song
from tests.support.crafted import wave
from tests.support.frames import ape, id3

SAMPLES = 20_000
AUDIO = song(SAMPLES)


def integers(width: int, valid_bits: int) -> tuple[bytes, np.ndarray]:
    """Return samples in containers of some bytes, their lowest bits empty, and what they are worth."""
    step = 2.0 ** (1 - valid_bits)
    values = np.clip(np.round(AUDIO.astype(np.float64) / step), -(2 ** (valid_bits - 1)), 2 ** (valid_bits - 1) - 1)
    whole = (values * 2.0 ** (32 - valid_bits)).astype(np.int64).astype("<i4")
    data = whole.view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()
    return (bytes(byte ^ 0x80 for byte in data) if width == 1 else data), (values * step).astype(np.float32)


def with_valid_bits(content: bytes, valid_bits: int) -> bytes:
    at = content.index(b"fmt ") + 8 + 18
    return content[:at] + struct.pack("<H", valid_bits) + content[at + 2 :]


@pytest.mark.parametrize(
    ("bits", "valid_bits"),
    [(32, 24), (32, 20), (32, 16), (32, 32), (24, 24), (24, 20), (24, 16), (16, 16), (16, 12), (16, 8), (8, 8), (8, 4)],
)
def test_the_container_counts_not_the_valid_bits(bits: int, valid_bits: int, tmp_path: Path) -> None:
    path = tmp_path / "valid.wav"
    data, expected = integers(bits // 8, valid_bits)
    path.write_bytes(with_valid_bits(wave(data, bits=bits, mask=3), valid_bits))
    check(path, "wav")
    audio = decoded(path)
    assert len(audio) == SAMPLES and np.abs(audio - expected).max() < 1e-7


@pytest.mark.parametrize("valid_bits", [0, 1, 255, 65_535])
@pytest.mark.parametrize(("code", "kind"), [(1, "<i2"), (3, "<f4")])
def test_valid_bits_that_lie_change_nothing(valid_bits: int, code: int, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "lie.wav"
    data = (AUDIO * 32_767).astype(kind) if code == 1 else AUDIO.astype(kind)
    content = wave(data.tobytes(), bits=data.itemsize * 8, code=code, mask=3)
    path.write_bytes(with_valid_bits(content, valid_bits))
    check(path, "wav")
    assert np.abs(decoded(path) - AUDIO).max() < 1e-4


def test_an_old_editors_floats_stay_floats(tmp_path: Path) -> None:
    path = tmp_path / "cool.wav"
    in_24 = wave((AUDIO * 2**23).astype("<f4").tobytes(), bits=24, align=8)
    in_16 = wave((AUDIO * 2**15).astype("<f4").tobytes(), bits=32)
    head, _, rest = in_16.partition(struct.pack("<I", 16))
    in_16 = head + struct.pack("<I", 20) + rest[:16] + struct.pack("<HH", 2, 1) + rest[16:]
    for content in (in_24, in_16):
        path.write_bytes(content)
        check(path, "wav")
        assert np.abs(decoded(path) - AUDIO).max() < 1e-6


@pytest.mark.parametrize("silent_samples", [0, 400_000])
def test_integers_in_wider_containers_are_told_from_an_old_editors_floats(silent_samples: int, tmp_path: Path) -> None:
    path = tmp_path / "plain.wav"
    data, expected = integers(4, 24)
    path.write_bytes(wave(bytes(8 * silent_samples) + data, bits=24, align=8))
    check(path, "wav")
    audio = decoded(path)
    assert len(audio) == silent_samples + SAMPLES
    assert not audio[:silent_samples].any() and np.array_equal(audio[silent_samples:], expected)
    path.write_bytes(wave(bytes(8 * silent_samples) + (AUDIO * 2**23).astype("<f4").tobytes(), bits=24, align=8))
    audio = decoded(path)
    assert not audio[:silent_samples].any() and np.abs(audio[silent_samples:] - AUDIO).max() < 1e-6


@pytest.mark.parametrize(("code", "kind"), [(1, ">i2"), (1, ">i4"), (1, "u1"), (3, ">f4"), (3, ">f8")])
def test_big_endian_samples_are_read_as_such(code: int, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rifx.wav"
    step = 1.0 if code == 3 else 2.0 ** (1 - 8 * np.dtype(kind).itemsize)
    data = (AUDIO / step * (1 if code == 3 else 0.9) + (128 if kind == "u1" else 0)).astype(kind)
    path.write_bytes(wave(data.tobytes(), bits=8 * data.itemsize, code=code, name=b"RIFX"))
    check(path, "wav")
    expected = (data.astype(np.float64) - (128 if kind == "u1" else 0)) * step
    assert np.abs(decoded(path) - expected).max() < 1e-6


@pytest.mark.parametrize(("channels", "align"), [(2, 2), (2, 1), (2, 3), (1, 4), (1, 3), (2, 0)])
def test_a_blocks_length_that_lies_changes_nothing(channels: int, align: int, tmp_path: Path) -> None:
    path = tmp_path / "align.wav"
    data = (AUDIO[:, :channels] * 32_767).astype("<i2")
    path.write_bytes(wave(data.tobytes(), channels=channels, align=align))
    check(path, "wav")
    audio = decoded(path)
    assert len(audio) == SAMPLES and np.array_equal(audio, np.broadcast_to(data / np.float32(32_768), audio.shape))


def test_what_may_stand_before_and_after(tmp_path: Path) -> None:
    data = (AUDIO * 32_767).astype("<i2").tobytes()
    expected = np.frombuffer(data, "<i2").reshape(-1, 2) / np.float32(32_768)
    plain = wave(data)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, len(plain) + 36, len(data), SAMPLES, 0)
    path = tmp_path / "odd.wav"
    for content in (
        plain,
        id3(bytes(257)) + plain,  # an odd length: chunks lie at odd offsets of the file
        id3(b"x" * 3_000_000) + plain,
        id3() * 500 + plain,
        ape(b"x" * 77) + id3(b"x") + plain,
        wave(data, size=0),
        wave(data, size=0xFFFFFFFF),
        wave(data, name=b"RF64", size=0xFFFFFFFF, before=ds64),
        wave(data, before=b"JUNK\5\0\0\0abcde\0" + b"bext" + struct.pack("<I", 602) + bytes(602)),
        plain + b"LIST\4\0\0\0INFO" + b"id3 " + struct.pack("<I", 10) + id3(),
    ):
        path.write_bytes(content)
        check(path, "wav")
        audio = decoded(path)
        # Where the length isn't told, what follows the samples is heard; here nothing does.
        assert np.array_equal(audio, expected)


def test_the_channels_of_a_header(tmp_path: Path) -> None:
    path = tmp_path / "any.wav"
    for content, channels in (
        (wave(bytes(100), channels=6), 6),
        (wave(bytes(100), channels=1, name=b"RIFX"), 1),
        (wave(bytes(100), channels=2, before=b"LIST\3\0\0\0abc\0"), 2),
        (wave(bytes(100), before=b"junk\0\0\0\0" * riff.MOST_CHUNKS), None),
        (wave(bytes(100))[:21], None),
    ):
        path.write_bytes(content)
        assert riff.read(path).channels == channels  # type: ignore[union-attr]
    for content in (b"RIFF", b"RIFF\0\0\0\0AVI " + bytes(100), b"", id3(bytes(10)), b"junk" + wave(bytes(100))):
        path.write_bytes(content)
        assert riff.read(path) is None
