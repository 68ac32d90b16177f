"""The stems' samples, of both engines: silence stays silent, nothing leaks, the same comes out again."""

from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import stft
from ezstems.audio.separate import STEMS, Separator, separate_blocks
from ezstems.network.choice import open_engine
from ezstems.weights import folders
from tests.support.audio_files import read, song, write_wav
from tests.support.tensorflow import ENGINES

SAMPLES = 2 * stft.TILE_SAMPLES + 12_345


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def separator(engine: str, models: Path) -> Separator:
    return Separator(models, "official", engine=engine)


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_stays_silence(channels: int, separator: Separator, tmp_path: Path) -> None:
    samples = stft.TILE_SAMPLES + 60_001
    source = write_wav(tmp_path / "silence.wav", np.zeros((samples, channels), np.float32))
    for file in separator(source, tmp_path, stems=4, cutoff="full").files:
        stem = read(file)
        assert stem.shape == (samples, 2) and not stem.any()


def test_what_follows_the_sound_is_silent(separator: Separator, tmp_path: Path) -> None:
    audio = song(200_000)
    audio[100_000:] = 0
    for file in separator(write_wav(tmp_path / "end.wav", audio), tmp_path, stems=2, cutoff="full").files:
        stem = read(file)
        assert stem[:100_000].any() and not stem[100_000 + stft.FRAME_SAMPLES :].any()


def test_a_silent_channel_stays_silent(separator: Separator, tmp_path: Path) -> None:
    audio = song(100_000)
    audio[:, 1] = 0
    for file in separator(write_wav(tmp_path / "left.wav", audio), tmp_path, stems=2, cutoff="full").files:
        stem = read(file)
        assert stem[:, 0].any() and not stem[:, 1].any()


def test_mono_has_the_same_stems_on_both_channels(separator: Separator, tmp_path: Path) -> None:
    audio = song(100_001, channels=1)
    pairs = (
        separator(write_wav(tmp_path / name, values), tmp_path, stems=4).files
        for name, values in (("mono.wav", audio), ("both.wav", np.repeat(audio, 2, axis=1)))
    )
    stems = [[read(file) for file in files] for files in pairs]
    assert all(np.array_equal(*pair) for pair in zip(*stems, strict=True))
    assert all(len(stem) == 100_001 and np.abs(stem).max() > 0.001 for stem in stems[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stays_where_it_is(value: float, separator: Separator, tmp_path: Path) -> None:
    place = stft.TILE_SAMPLES + 50_000

    def stems(at_the_place: float | None) -> list[np.ndarray]:
        audio = song(SAMPLES)
        if at_the_place is not None:
            audio[place : place + 10] = at_the_place
        files = separator(write_wav(tmp_path / "song.wav", audio), tmp_path, stems=2).files
        return [read(file) for file in files]

    # The frames that hold the place are all of the second tile, whose last ones reach three hops into the third.
    start, end = (tiles * stft.TILE_SAMPLES - stft.FRAME_SAMPLES for tiles in (1, 2))
    end += stft.OVERLAP_SAMPLES
    for broken, silent, whole in zip(stems(value), stems(0), stems(None), strict=True):
        assert np.array_equal(broken, silent)
        assert not np.array_equal(broken[start:end], whole[start:end])
        assert np.array_equal(broken[:start], whole[:start]) and np.array_equal(broken[end:], whole[end:])


def test_the_same_file_gives_the_same_bits(separator: Separator, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "song.wav", song(SAMPLES))
    one = [file.read_bytes() for file in separator(wav, tmp_path, stems=2, output="mp3").files]
    assert one == [file.read_bytes() for file in separator(wav, tmp_path, stems=2, output="mp3").files]


def test_input_blocks_may_be_of_any_length(engine: str, models: Path) -> None:
    opened = open_engine(engine, "auto", folders.find("official", 2, models), "11kHz")
    audio = song(700_000)
    results = []
    for size in (700_000, 99_991):
        blocks = (audio[start : start + size] for start in range(0, len(audio), size))
        results.append(np.concatenate([block["vocals"] for block in separate_blocks(blocks, opened, STEMS[2])]))
    assert np.array_equal(results[0], results[1])
