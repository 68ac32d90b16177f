"""Properties of the streamed STFT: whatever the blocks, the signal comes back whole."""

import numpy as np
import pytest
from scipy import signal

from ezstems.audio import stft
from tests.support.audio_files import song


def round_trip(audio: np.ndarray, block_samples: int, bins: int = stft.BINS, average: bool = False) -> np.ndarray:
    blocks = (audio[start : start + block_samples] for start in range(0, len(audio), block_samples))
    workspace = stft.Workspace(bins, average)
    ones = np.ones((stft.TILE_FRAMES, bins, 2), np.float32)

    def waveforms():  # type: ignore[no-untyped-def]
        for tile, count in stft.tiles(blocks):
            workspace.magnitudes(tile)
            yield {"all": workspace.waveform(ones)}, count

    return np.concatenate([block["all"] for block in stft.overlap_add(waveforms())])


TILE = stft.TILE_SAMPLES


@pytest.mark.parametrize(
    "samples",
    [1, 1000, 4096, TILE - 4097, TILE - 4096, TILE - 4095, TILE - 1024, TILE, 2 * TILE - 4096, 2 * TILE + 3071],
)
def test_round_trip_is_the_signal(samples: int) -> None:
    audio = song(samples)
    for block_samples in (TILE, 100_001):
        result = round_trip(audio, block_samples)
        assert result.shape == audio.shape
        assert np.abs(result - audio).max() < 1e-5


def test_average_extension_of_a_full_mask_is_the_signal() -> None:
    audio = song(100_000)
    assert np.abs(round_trip(audio, 7777, bins=1024, average=True) - audio).max() < 1e-5


def test_without_extension_nothing_is_left_above_the_band() -> None:
    audio = song(100_000)
    kept = round_trip(audio, 7777, bins=1024)
    spectrum = np.abs(np.fft.rfft(kept[20_000:80_000] * np.hanning(60_000)[:, None], axis=0))
    edge = 1024 * 60_000 // 4096
    assert spectrum[edge + 200 :].max() < 1e-3 * spectrum[:edge].max()


def test_silence_stays_silence() -> None:
    assert not round_trip(np.zeros((TILE + 5, 2), np.float32), TILE).any()


def test_magnitudes_are_those_of_an_independent_stft() -> None:
    audio = song(300_000)
    tile, count = next(stft.tiles([audio]))
    assert count == 300_000 + 4096
    magnitudes = stft.Workspace(1536, average=False).magnitudes(tile)
    window = signal.windows.hann(4096, sym=False)
    for frame in (0, 1, 3, 100, 296, 297, 511):
        padded = np.concatenate([np.zeros((4096, 2)), audio, np.zeros((TILE, 2))])[frame * 1024 :][:4096]
        expected = np.abs(np.fft.rfft(padded * window[:, None], axis=0))[:1536]
        assert np.abs(magnitudes[frame] - expected).max() < 1e-3


def test_input_is_not_changed() -> None:
    audio = song(TILE + 10_000)
    copy = audio.copy()
    round_trip(audio, 50_000)
    assert np.array_equal(audio, copy)


def test_tiles_cover_the_padded_signal_once() -> None:
    for samples in (1, TILE - 4096, TILE, 3 * TILE + 1):
        counts = [count for _, count in stft.tiles([np.ones((samples, 2), np.float32)])]
        assert sum(counts) == samples + 4096
        assert set(counts[:-1]) <= {TILE}
