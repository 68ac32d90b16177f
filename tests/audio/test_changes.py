"""Files that change their channels or rate midway lose nothing: they come out as long as ffmpeg's own plain decode."""

import struct
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio.decode import check
from ezstems.audio.length import refuse_longer
from tests.audio.test_decode import decoded
from tests.support.audio_files import convert, ffmpeg, read, song, write_wav
from tests.support.boxes import parse
from tests.support.frames import frames

FRAME_SAMPLES, PIECE = 1152, 15  # 0.4 s
BARE = ("-write_xing", "0", "-id3v2_version", "0", "-b:a", "128k")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("changes") / "song.wav", song(3 * 44_100))


def pieces(source: Path, *kinds: tuple[str, ...]) -> list[bytes]:
    """Encode a song in each way and take a piece of each in turn, as a file that was cut together would have them."""
    files = [convert(source, f"{number}.mp3", *BARE, *kind) for number, kind in enumerate(kinds)]
    songs = [list(frames(file.read_bytes())) for file in files]
    return [b"".join(songs[turn % len(kinds)][turn * PIECE : (turn + 1) * PIECE]) for turn in range(6)]


def plain(path: Path, name: str) -> np.ndarray:
    """Decode as ffmpeg does by itself, to our rate and channels."""
    target = path.with_name(name)
    ffmpeg("-i", path, "-ar", "44100", "-ac", "2", "-c:a", "pcm_f32le", target)
    return read(target)


@pytest.mark.parametrize("first", [0, 1])
def test_mono_and_stereo_in_turn(first: int, source: Path) -> None:
    kinds = [("-ac", "2"), ("-ac", "1")]
    path = source.with_name("turns.mp3")
    path.write_bytes(b"".join(pieces(source, kinds[first], kinds[1 - first])))
    check(path, "mp3")
    audio, expected = decoded(path), plain(path, "turns-plain.wav")
    assert len(audio) == len(expected) == 6 * PIECE * FRAME_SAMPLES
    # ffmpeg takes 3 dB off one channel that becomes two. A change is a frame late, for the frame before it ends there.
    length = PIECE * FRAME_SAMPLES
    for turn in range(6):
        middle = slice(turn * length + 2 * FRAME_SAMPLES, (turn + 1) * length - 2 * FRAME_SAMPLES)
        gain = 1.0 if (turn + first) % 2 == 0 else np.sqrt(2)
        assert np.abs(expected[middle]).max() > 0.05
        assert np.abs(audio[middle] - gain * expected[middle]).max() < 1e-5


@pytest.mark.parametrize("rates_hz", [("44100", "48000"), ("48000", "44100"), ("22050", "44100", "32000")])
def test_rates_in_turn(rates_hz: tuple[str, ...], source: Path) -> None:
    path = source.with_name("rates.mp3")
    path.write_bytes(b"".join(pieces(source, *(("-ar", rate_hz) for rate_hz in rates_hz))))
    check(path, "mp3")
    audio, expected = decoded(path), plain(path, "rates-plain.wav")
    assert len(audio) == len(expected)
    assert np.abs(audio - expected).max() < 1e-5


def test_an_m4a_changes_its_channels(source: Path) -> None:
    parts = [convert(source, f"{channels}.ac3", "-ac", channels, "-t", "0.6").read_bytes() for channels in "216"]
    joined = source.with_name("joined.ac3")
    joined.write_bytes(b"".join([*parts, *parts]))
    path = convert(joined, "joined.m4a", "-c:a", "copy")
    check(path, "m4a")
    audio = decoded(path)
    assert len(audio) == len(plain(path, "joined-plain.wav")) > 3.5 * 44_100


def test_a_gap_in_an_m4as_times_is_closed(source: Path) -> None:
    path = convert(source, "gap.m4a", "-c:a", "aac")
    whole, root = decoded(path), parse(path.read_bytes())
    packets = struct.unpack_from(">I", root.find(b"stsz").payload, 8)[0]
    hour = 3600 * 44_100
    for gap, longest_seconds in ((44_100, 5), (hour, 3604)):
        deltas = ((50, 1024), (1, 1024 + gap), (packets - 51, 1024))
        root.find(b"stts").payload = struct.pack(">II6I", 0, 3, *(number for delta in deltas for number in delta))
        root.find(b"edts").times = 0
        path.write_bytes(root.content())
        check(path, "m4a")
        refuse_longer(path, longest_seconds)
        audio = decoded(path)
        # Without the edit list, what the encoder put before the sound is there, and the last frame is whole.
        assert len(audio) == packets * 1024
        assert np.array_equal(audio[1024 : 1024 + len(whole)], whole)
