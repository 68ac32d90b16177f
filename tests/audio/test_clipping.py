"""Clipped samples: counted where 16 bits are written, each once, and never where nothing is lost."""

from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import clipping
from ezstems.audio.encode import PCM_CHUNK_SAMPLES, Writer, pcm16
from ezstems.audio.outputs import FORMATS, OUTPUTS
from ezstems.audio.separate import STEMS, separate_blocks
from tests.support.audio_files import song

STEP = np.float32(1 / 32768)


class Everything:
    """An engine that gives all of the mix to one stem."""

    name, quick, bins, precision = "everything", False, 1024, "float32"

    def runner(self) -> "Everything":
        return self

    def __call__(self, magnitudes: np.ndarray) -> dict[str, np.ndarray]:
        return {"vocals": np.ones_like(magnitudes), "accompaniment": np.zeros_like(magnitudes)}


def clipped(path: Path, output: str, *blocks: np.ndarray) -> int:
    """Write blocks; return what the writer counts."""
    with Writer(path, output) as writer:
        for block in blocks:
            writer.write(block)
        writer.finish()
    return writer.clipped


@pytest.mark.parametrize("output", OUTPUTS)
def test_each_sample_of_both_channels_counts_once(output: str, tmp_path: Path) -> None:
    audio = 0.5 * song(3 * PCM_CHUNK_SAMPLES)
    audio[0] = 1.5, -1.5
    audio[1, 0] = -7
    audio[PCM_CHUNK_SAMPLES - 1 : PCM_CHUNK_SAMPLES + 1] = 1.001  # over the seam of two chunks
    audio[-1, 1] = 65_536
    path = tmp_path / FORMATS[output].filename("stem")
    assert clipped(path, output, audio[:50], audio[50:40_000], audio[40_000:]) == (8 if FORMATS[output].clips else 0)
    assert clipped(path, output, 0.5 * song(1000)) == 0


def test_full_scale_and_its_round_off_are_not_clipping() -> None:
    full = np.array([1, -1, 32767 / 32768, 1 + 0.4 * STEP, -1 - 0.4 * STEP], np.float32)
    assert pcm16(full)[0].tolist() == [32767, -32768, 32767, 32767, -32768] and pcm16(full)[1] == 0
    over = np.array([1 + 0.6 * STEP, -1 - 0.6 * STEP], np.float32)
    assert pcm16(over)[0].tolist() == [32767, -32768] and pcm16(over)[1] == 2


def test_a_full_scale_16_bit_song_that_passes_whole_is_not_clipped() -> None:
    levels = np.array([-32768, 32767, 0, 32767, -32768, -32768, 1], np.int16)
    pcm = levels[np.random.default_rng(3).integers(0, len(levels), (700_001, 2))]
    pcm[1000:5000] = 32767, -32768
    separated = separate_blocks(iter([pcm * STEP]), Everything(), STEMS[2], average=True)
    converted = [pcm16(blocks["vocals"]) for blocks in separated]
    assert np.array_equal(np.concatenate([block for block, _ in converted]), pcm), "not a bit differs"
    assert sum(count for _, count in converted) == 0


def test_in_words() -> None:
    assert clipping.in_words({"vocals": 1, "bass": 1_234_567}) == "1 sample of vocals, 1,234,567 samples of bass"
    advice = clipping.advice({"drums": 2})
    assert "2 samples of drums" in advice and "32-bit float WAV (wav32)" in advice
