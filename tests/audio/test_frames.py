"""MP3s whose sound doesn't begin with the file: they are aligned with those where it does, sample by sample."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import mpeg, tags
from ezstems.audio.decode import check
from ezstems.audio.kinds import find
from ezstems.audio.length import refuse_longer
from ezstems.errors import UnreadableAudio
from tests.audio.test_decode import decoded
from tests.support.audio_files import convert, ffmpeg, song, write_wav
from tests.support.clocks import worked_seconds
from tests.support.crafted import SCRIPTS, wave
from tests.support.frames import ape, frames, id3, lyrics

SAMPLES = 2 * 44_100
PICTURE = b"\x89PNG\r\n\x1a\n" + np.random.default_rng(3).bytes(30_000)
HEADS = {
    "ID3v2": id3(b"x" * 500),
    "short ID3v2": id3(PICTURE, size=110),
    "short ID3v2, by a little": id3(bytes(4000) + b"\0x" * 500, size=4000),
    "ID3v2 with a footer": id3(bytes(100), flags=0x10) + b"3DI" + bytes(7),
    "APEv2": ape(b"x" * 3000),
    "APEv2, then ID3v2": ape(b"x" * 3000) + id3(b"x" * 500),
    "ID3v2 of more than there is": id3(b"x" * 100, size=30_000_000),
    "APEv2 of more than there is": ape(b"x" * 100).replace(struct.pack("<I", 132), struct.pack("<I", 10_000_000)),
    "junk in which a tag seems to lead past the end": b"x" * 500 + id3(b"y" * 500, size=(1 << 28) - 1, version=3),
    "ICY": b"ICY 200 OK\r\nicy-name:radio\r\nicy-br:128\r\n\r\n",
    "HTTP, then ID3v2": b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + id3(bytes(2 << 20)),
    "ID3v1": b"TAG" + b"x" * 125,
    "zeros": bytes(5000),
    "noise": np.random.default_rng(4).bytes(60_000),
    "a long picture": np.random.default_rng(5).bytes(900_000),
    "many ID3v2": id3(bytes(10)) * 3000,
    "a RIFF header": wave(b"", code=0x55, bits=0, align=1),
    "a web page": b"<!doctype html><script>alert(1)</script>\n" * 50,
}
TAILS = {
    "ID3v1": b"TAG" + b"x" * 125,
    "APEv2": ape(b"x" * 20_000),
    "APEv2 that looks like frames": ape(b"\xff\xfb\x90\x64" * 5000),
    "all": ape(PICTURE) + lyrics(b"IND00002110LYR00010[00:01]la\r\n") + ape(b"x") + b"TAG" + bytes(125),
}
JUNK_BYTES = mpeg.LONGEST_JUNK_BYTES


@pytest.fixture(scope="module")
def mp3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an MP3 that begins with an encoder's tag: what comes before the song, and after, is cut off."""
    source = write_wav(tmp_path_factory.mktemp("frames") / "song.wav", song(SAMPLES))
    return convert(source, "song.mp3", "-b:a", "128k", "-id3v2_version", "0")


@pytest.fixture(scope="module")
def expected(mp3: Path) -> np.ndarray:
    audio = decoded(mp3)
    assert len(audio) == SAMPLES
    original = song(SAMPLES)[:, 0]
    spectrum = np.fft.rfft(audio[:, 0], 2 * SAMPLES) * np.conj(np.fft.rfft(original, 2 * SAMPLES))
    assert np.argmax(np.fft.irfft(spectrum)) == 0  # in step with what was encoded
    return audio


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_whatever_comes_first_the_sound_is_the_same(head: bytes, mp3: Path, expected: np.ndarray) -> None:
    path = mp3.with_name("headed.mp3")
    path.write_bytes(head + mp3.read_bytes())
    check(path, "mp3")
    refuse_longer(path, 3)
    assert np.array_equal(decoded(path), expected)


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_whatever_comes_last_the_sound_is_the_same(tail: bytes, mp3: Path, expected: np.ndarray) -> None:
    path = mp3.with_name("tailed.mp3")
    for head in (b"", HEADS["short ID3v2"]):
        path.write_bytes(head + mp3.read_bytes() + tail)
        assert np.array_equal(decoded(path), expected)


def test_a_lying_tag_at_the_end_takes_no_sound(mp3: Path, expected: np.ndarray) -> None:
    content, path = mp3.read_bytes(), mp3.with_name("lying.mp3")
    foot = b"APETAGEX" + struct.pack("<IIII", 2000, 20_000, 1, 0x80000000) + bytes(8)
    for tail in (foot, b"019999LYRICS200", b"\0" * 8 + b"999999LYRICS200"):
        path.write_bytes(content + tail)
        with path.open("rb") as file:
            assert tags.start_of_tags(file, path.stat().st_size) == path.stat().st_size
        assert len(decoded(path)) >= len(expected) - mpeg.LONGEST_FRAME_BYTES


@pytest.mark.parametrize("trailer", [b"", b"LIST" + struct.pack("<I", 5000) + b"\xff\xfb\x90\x64" * 1250])
def test_mp3_in_a_wave_file_is_in_step(trailer: bytes, mp3: Path, expected: np.ndarray) -> None:
    for name in ("wrapped.wav", "wrapped.mp3"):
        path = mp3.with_name(name)
        path.write_bytes(wave(mp3.read_bytes(), code=0x55, bits=0, align=1) + trailer)
        check(path, path.suffix)
        assert np.array_equal(decoded(path), expected)


@pytest.mark.skipif(shutil.which("mpg123") is None, reason="mpg123 is not installed")
@pytest.mark.parametrize("name", ["plain", "short ID3v2", "APEv2", "ICY", "ID3v1", "a RIFF header"])
def test_mpg123_says_the_same(name: str, mp3: Path) -> None:
    path = mp3.with_name("peer.mp3")
    path.write_bytes(HEADS.get(name, b"") + mp3.read_bytes())
    told = subprocess.run(["mpg123", "-q", "-s", "-e", "f32", path], capture_output=True, check=True).stdout
    assert np.abs(np.frombuffer(told, "<f4").reshape(-1, 2) - decoded(path)).max() < 1e-5


def test_without_an_encoders_tag_every_frame_sounds(mp3: Path) -> None:
    for name, arguments, samples in (
        ("bare.mp3", ("-b:a", "128k", "-write_xing", "0", "-id3v2_version", "0"), 1152),
        ("mpeg2.mp3", ("-ar", "22050", "-write_xing", "0", "-id3v2_version", "0"), 1152),  # 576 of half the rate
        ("mpeg2.5.mp3", ("-ar", "11025", "-write_xing", "0", "-id3v2_version", "0"), 2304),
        ("layer2.mp3", ("-c:a", "mp2", "-f", "mp2"), 1152),
    ):
        path = convert(mp3.with_name("song.wav"), name, *arguments)
        count = len(list(frames(path.read_bytes())))
        check(path, "mp3")
        assert len(decoded(path)) == count * samples


def test_a_file_cut_in_a_frame_begins_with_the_next(mp3: Path) -> None:
    bare = mp3.with_name("bare.mp3")
    ffmpeg("-y", "-i", mp3, "-c:a", "copy", "-write_xing", "0", "-id3v2_version", "0", bare)
    whole = list(frames(bare.read_bytes()))
    bare.write_bytes(b"".join(whole)[100:])
    assert find(bare, "mp3").start == len(whole[0]) - 100  # type: ignore[union-attr]
    assert len(decoded(bare)) == (len(whole) - 1) * 1152


def free_format() -> bytes:
    return (b"\xff\xfb\x04\x64" + bytes(600)) * 100


@pytest.mark.parametrize(
    "content",
    [
        lambda mp3: np.random.default_rng(6).bytes(JUNK_BYTES + 100_000) + mp3,  # too far
        lambda mp3: id3(np.random.default_rng(8).bytes(500_000), size=0x0FFFFFFF),  # cut off in its tag
        lambda mp3: np.random.default_rng(7).bytes(3 << 20),
        lambda mp3: HEADS["ICY"] + b"".join(SCRIPTS),
        lambda mp3: HEADS["APEv2"] * 5 + HEADS["zeros"],
        lambda mp3: b"PK\3\4" + bytes(40) + mp3,
        lambda mp3: b"\x1aE\xdf\xa3" + bytes(40) + mp3,
        lambda mp3: b"RIFF\0\0\0\0AVI " + bytes(40) + mp3,
        lambda mp3: bytes(257) + b"ustar" + bytes(250) + mp3,
        lambda mp3: id3(b"x") + b"\0\0\0\x18ftypM4A " + mp3,
        lambda mp3: wave(mp3, code=1),
        lambda mp3: free_format(),
    ],
)
def test_what_is_no_mp3_is_refused(content: Callable[[bytes], bytes], mp3: Path) -> None:
    path = mp3.with_name("refused.mp3")
    path.write_bytes(content(mp3.read_bytes()))
    with pytest.raises(UnreadableAudio, match="content is not MP3 audio"):
        check(path, "mp3")


def test_tags_of_any_length_and_number_cost_little(mp3: Path, expected: np.ndarray) -> None:
    path = mp3.with_name("tagged.mp3")
    content = mp3.read_bytes()
    with path.open("wb") as file:  # a picture of 200 MB, as sparse as the disk allows
        for head in (ape(bytes(8)), id3(size=200 << 20)):
            file.write(head)
        file.seek(200 << 20, 1)
        file.write(content)
        size_bytes = 200 << 20
        file.write(b"APETAGEX" + struct.pack("<IIII", 2000, size_bytes + 32, 1, 0xA0000000) + bytes(8))
        file.seek(size_bytes, 1)
        file.write(b"APETAGEX" + struct.pack("<IIII", 2000, size_bytes + 32, 1, 0x80000000) + bytes(8))
    started = worked_seconds()
    check(path, "mp3")
    assert np.array_equal(decoded(path), expected)
    assert worked_seconds() - started < 5  # 0.1 s on a machine of its own; ffmpeg alone reads 400 MB
    for head in (id3() * 3_000_000, b"\xff\xfb\x90\x64" * 3_000_000, (id3(b"x") + b"\xff\xfb\x90\x64") * 1_000_000):
        path.write_bytes(head)
        started = worked_seconds()
        with pytest.raises(UnreadableAudio):
            check(path, "mp3")
        assert worked_seconds() - started < 2  # 0.05 s; 4.6 s when all were read
