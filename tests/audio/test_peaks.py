"""The peaks: those of the files that were written, in bounded memory, whatever the blocks and the length."""

import json
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio.peaks import FIRST_SAMPLES, MAX_PEAKS, Meter, Peaks
from ezstems.audio.separate import STEMS, Separator
from tests.support.audio_files import read, song, write_wav


def noise(samples: int) -> np.ndarray:
    """Make int16 (samples, 2) whose level changes all the time."""
    pcm = np.random.default_rng(0).integers(-32_768, 32_768, (samples, 2), np.int16)
    return pcm >> (np.arange(samples) // 777 % 14)[:, None].astype(np.int16)


def true_peaks(pcm: np.ndarray, samples_per_peak: int) -> bytes:
    """Return the peaks of int16 samples (n, 2), the slow way."""
    absolute = np.abs(pcm.astype(int))
    highest = [absolute[at : at + samples_per_peak].max() for at in range(0, len(pcm), samples_per_peak)]
    return bytes(round(peak * 255 / 32768) for peak in highest)


def measured(pcm: np.ndarray, *cuts: int) -> Meter:
    """Measure int16 samples (n, 2) in blocks."""
    meter = Meter()
    for block in np.split(pcm, cuts):
        if len(block):
            meter.add(block)
    return meter


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 1000, MAX_PEAKS * FIRST_SAMPLES, MAX_PEAKS * FIRST_SAMPLES + 1])
def test_peaks_of_any_length(samples: int) -> None:
    pcm = noise(samples)
    meter = measured(pcm)
    assert meter.samples == samples
    assert meter.samples_per_peak == FIRST_SAMPLES * (2 if samples > MAX_PEAKS * FIRST_SAMPLES else 1)
    assert meter.peaks() == true_peaks(pcm, meter.samples_per_peak)


def test_blocks_change_nothing() -> None:
    pcm = noise(3 * MAX_PEAKS * FIRST_SAMPLES // 2 + 777)
    whole = measured(pcm)
    assert whole.samples_per_peak == 2 * FIRST_SAMPLES
    for cuts in ((1,), (511, 512, 513, 600, 601), (100_000, 600_001, 1_200_003), tuple(range(0, len(pcm), 99_991))):
        meter = measured(pcm, *cuts)
        assert (meter.samples, meter.samples_per_peak, meter.peaks()) == (len(pcm), 1024, whole.peaks()), cuts


def test_the_size_is_bounded_and_nothing_is_lost() -> None:
    meter, silence = Meter(), np.zeros((1_000_000, 2), np.int16)
    loud = silence.copy()
    loud[654_321, 1] = -16_384  # one sample of one channel
    for number in range(500):  # three hours
        meter.add(loud if number == 321 else silence)
    peaks = meter.peaks()
    assert MAX_PEAKS // 2 < len(peaks) <= MAX_PEAKS
    assert [place for place, peak in enumerate(peaks) if peak] == [321_654_321 // meter.samples_per_peak]
    assert max(peaks) == 128


def test_full_scale() -> None:
    for level, expected in {0: 0, 64: 0, 65: 1, -65: 1, 16_384: 128, 32_767: 255, -32_768: 255}.items():
        assert measured(np.full((10, 2), level, np.int16)).peaks() == bytes([expected]), level


def test_the_json() -> None:
    peaks = Peaks(130, 64, {"vocals": b"\x00\x80\xff", "drums": bytes(3)})
    written = json.loads(peaks.json())
    assert list(written) == ["samples", "sample_rate", "samples_per_peak", "stems", "tempo", "key"]
    assert written == {
        "samples": 130,
        "sample_rate": 44_100,
        "samples_per_peak": 64,
        "stems": {"vocals": "AID/", "drums": "AAAA"},
        "tempo": None,
        "key": None,
    }
    assert b64decode(written["stems"]["vocals"]) == peaks.stems["vocals"]


@pytest.mark.parametrize("stems", [2, 5])
def test_the_peaks_of_a_separation_are_its_files(stems: int, models: Path, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", 30 * song(700_001))  # loud enough to be clipped
    result = Separator(models, "official")(source, tmp_path, stems=stems)
    assert list(result.peaks.stems) == list(STEMS[stems])
    assert result.peaks.samples == result.samples == 700_001
    for file in result.files:
        pcm = np.rint(read(file) * 32768)
        assert result.peaks.stems[file.stem] == true_peaks(pcm, result.peaks.samples_per_peak), file.name
    assert max(map(max, result.peaks.stems.values())) == 255
