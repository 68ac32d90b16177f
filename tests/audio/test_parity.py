"""The streamed stems of both engines equal those of Spleeter's own graph over the whole file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from ezstems.audio import stft
from ezstems.audio.decode import decode
from ezstems.audio.separate import STEMS, separate_blocks
from ezstems.network.choice import open_engine
from ezstems.network.configuration import configuration
from ezstems.weights import folders
from ezstems.weights.folders import Weights
from tests.support.audio_files import song, write_wav
from tests.support.tensorflow import tensorflow

TOLERANCE = 1e-5  # of full scale
ENGINES = ("openvino", "tensorflow")
TILE = stft.TILE_SAMPLES


class Case(NamedTuple):
    """Describe one comparison: a cutoff, and the file's samples, channels and rate."""

    cutoff: str
    samples: int
    channels: int = 2
    rate_hz: int = 44_100


# By network: the official size once for each number of stems, the rest with few filters, which makes them quick.
# Lengths: shorter than a frame, about a tile (the zeros in front and the last frames' padding decide whether there is
# one more), odd ones of several tiles.
OFFICIAL = {
    2: [Case("11kHz", 2 * TILE + 54_321), Case("11kHz", TILE - stft.FRAME_SAMPLES + 1, channels=1)],
    4: [Case("16kHz", TILE + 99_999)],
    5: [Case("11kHz", 400_003, rate_hz=48_000)],
}
SMALL = {
    2: [Case("11kHz", 1000), Case("16kHz", 600_001, rate_hz=48_000), Case("full", 2 * TILE + 7)],
    4: [Case("11kHz", 1), Case("full", 300_001, channels=1)],
    5: [Case("16kHz", TILE + 12_345), Case("full", TILE - stft.FRAME_SAMPLES, rate_hz=48_000)],
}
MODELS = {"11kHz": ("11kHz", "zeros"), "16kHz": ("16kHz", "zeros"), "full": ("11kHz", "average")}


class WholeFile:
    """Run Spleeter's graph on whole waveforms, restored by TensorFlow's own Saver, in plain sessions."""

    def __init__(self, weights: Weights, cutoff: str) -> None:
        tf = tensorflow()
        from spleeter.model import EstimatorSpecBuilder

        configured, extension = MODELS[cutoff]
        params = configuration(weights, configured) | {"mask_extension": extension}
        v1 = tf.compat.v1
        with tf.Graph().as_default():
            self._waveform = v1.placeholder(tf.float32, (None, 2))
            builder = EstimatorSpecBuilder({"waveform": self._waveform}, params)
            self._fetches = {"outputs": builder.outputs, "masks": builder.masks}
            self.session = v1.Session()
            v1.train.Saver().restore(self.session, str(weights.checkpoint))

    def __call__(self, waveform: np.ndarray) -> Any:
        return self.session.run(self._fetches, {self._waveform: waveform})


@pytest.mark.timeout(600)  # the whole-file graph alone takes its time where cores are shared
@pytest.mark.parametrize("stems", sorted(OFFICIAL))
def test_official_size(stems: int, official: Callable[[int], Weights], tmp_path: Path) -> None:
    compare(official(stems), OFFICIAL[stems], ENGINES, tmp_path)


@pytest.mark.parametrize("stems", sorted(SMALL))
def test_small_size(stems: int, models: Path, tmp_path: Path) -> None:
    # Where both stream the same, one engine is enough for what streaming itself must get right.
    compare(folders.find("official", stems, models), SMALL[stems], ("openvino",), tmp_path)


def compare(found: Weights, cases: list[Case], names: tuple[str, ...], folder: Path) -> None:
    """Hold that all ways give the same stems, model by model."""
    stems = STEMS[found.stems]
    for cutoff in MODELS:
        chosen = [case for case in cases if case.cutoff == cutoff]
        if not chosen:
            continue
        configured, extension = MODELS[cutoff]
        whole = WholeFile(found, cutoff)
        engines = [open_engine(name, "float32", found, configured) for name in names]
        for number, case in enumerate(chosen):
            audio = song(case.samples, channels=case.channels, rate_hz=case.rate_hz, seed=number + found.stems)
            source = write_wav(folder / f"{cutoff}-{number}.wav", audio, case.rate_hz)
            with decode(source, block_samples=100_003) as decoding:
                waveform = np.concatenate(list(decoding))
            if case.rate_hz == 44_100:
                assert np.abs(waveform - audio).max() < 1e-6  # (n, 1) repeated on both channels
            expected = whole(waveform)
            for engine in engines:
                with decode(source, block_samples=TILE) as decoding:
                    streamed = list(separate_blocks(decoding, engine, stems, average=extension == "average"))
                for stem in stems:
                    actual = np.concatenate([blocks[stem] for blocks in streamed])
                    assert actual.shape == expected["outputs"][stem].shape == waveform.shape
                    difference = np.abs(actual - expected["outputs"][stem]).max()
                    print(f"{engine.name} {found.label} {stem} {case}: {difference:.1e}")
                    assert difference < TOLERANCE, (engine.name, stem, case)
            if case.samples > TILE:
                assert_varied(expected["masks"], stems, engines[0].bins)
        whole.session.close()


def assert_varied(masks: dict[str, np.ndarray], stems: tuple[str, ...], bins: int) -> None:
    """Hold that a comparison says something: no mask is nearly constant, no two stems have the same."""
    for stem in stems:
        mask = masks[stem][:, :bins]
        assert mask.std() > 0.05, stem
        assert mask.mean(axis=(1, 2)).std() > 0.005, f"{stem} is the same in all frames"
        for other in stems:
            assert other == stem or np.abs(mask - masks[other][:, :bins]).mean() > 0.05, (stem, other)
