"""Composed models: the official vocals first, and the bundled networks on what is left, in one graph."""

import pickle
import shutil
import sys
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ezstems.audio import stft
from ezstems.audio.separate import STEMS, Separator, separate_blocks
from ezstems.errors import ConfigurationError
from ezstems.network import openvino_engine
from ezstems.network.choice import open_engine
from ezstems.network.configuration import configuration
from ezstems.network.networks import Networks
from ezstems.network.openvino_engine import OpenvinoEngine
from ezstems.network.runtimes import tensorflow
from ezstems.weights import folders
from ezstems.weights.folders import Weights
from tests.support import checkpoints
from tests.support.audio_files import read, song, write_wav

ENGINES = ("openvino", "tensorflow")
MASK_TOLERANCE = 2e-5
TOLERANCE = 1e-5  # of full scale
SAMPLES = stft.TILE_SAMPLES + 99_999

Masks = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the small random 2 stems alone, which stand for the official ones."""
    folder = tmp_path_factory.mktemp("vocals")
    shutil.copytree(models / "2stems", folder / "2stems")
    return folder


@cache
def magnitudes(bins: int) -> np.ndarray:
    """Return the magnitudes of a song's first tile, the last quarter of which is silent."""
    tile, count = next(stft.tiles([song(400_000, seed=4)]))
    return stft.Workspace(bins, average=False).magnitudes(tile, stft.frames(count))


def masks_of(engine: str, found: Weights, cutoff: str, magnitudes: np.ndarray) -> Masks:
    runner = open_engine(engine, "float32", found, cutoff).runner()
    return {stem: mask.copy() for stem, mask in runner(magnitudes).items()}


def composed_by_hand(first: Masks, second: Masks) -> Masks:
    """Return the masks of both, written out."""
    rest = first["accompaniment"]
    masks = {"vocals": first["vocals"]}
    for stem in second:
        if stem not in ("vocals", "other"):
            masks[stem] = rest * second[stem]
    return masks | {"other": rest * (second["other"] + second["vocals"])}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("stems", "cutoff"), [(4, "11kHz"), (5, "16kHz")])
def test_the_masks_are_those_of_both_networks(engine: str, stems: int, cutoff: str, folder: Path) -> None:
    found = folders.find("auto", stems, folder)
    assert found.label == f"official vocals + builtin {stems}stems"
    one = magnitudes(configuration(found, cutoff)["F"])
    first = masks_of("openvino", folders.find("official", 2, folder), cutoff, one)
    second = masks_of("openvino", folders.find("builtin", stems, folder), cutoff, one * first["accompaniment"])
    expected, actual = composed_by_hand(first, second), masks_of(engine, found, cutoff, one)
    assert set(actual) == set(expected) == set(STEMS[stems])
    for stem, mask in expected.items():
        difference = np.abs(actual[stem] - mask).max()
        print(f"{engine} {found.label} {cutoff} {stem}: {difference:.1e}")
        assert actual[stem].shape == mask.shape and difference < MASK_TOLERANCE, stem
        assert mask[:380].std() > 0.02, f"{stem} says nothing"
    assert np.abs(sum(actual.values()) - 1).max() < 1e-5


class WholeFile:
    """Run Spleeter's own code over whole files, one network after the other."""

    def __init__(self, found: Weights, cutoff: str) -> None:
        self._parts = [(one, configuration(one, cutoff) | {"mask_extension": "zeros"}) for one in found.parts]
        self._bins = self._parts[0][1]["F"]

    def __call__(self, waveform: np.ndarray, average: bool) -> Masks:
        """Return the stems; `average` extends the masks to the whole band."""
        spectrum = self._run(lambda builder: builder.stft_feature, {"waveform": waveform})
        heard = np.abs(spectrum[:, : self._bins])
        first = self._masks(0, spectrum, heard)
        second = self._masks(1, spectrum, heard * first["accompaniment"])
        stems = {}
        for stem, mask in composed_by_hand(first, second).items():
            above = mask.mean(axis=1, keepdims=True) if average else np.zeros_like(mask[:, :1])
            full = np.concatenate([mask, np.repeat(above, stft.BINS - self._bins, axis=1)], axis=1)
            stems[stem] = self._run(
                lambda builder: builder._inverse_stft(builder.stft_feature, len(waveform)),
                {"mix_stft": spectrum * full},
            )
        return stems

    def _masks(self, part: int, spectrum: np.ndarray, heard: np.ndarray) -> Masks:
        padded = np.pad(heard, ((0, -len(heard) % stft.TILE_FRAMES), (0, 0), (0, 0)))
        tiles = padded.reshape(-1, stft.TILE_FRAMES, self._bins, 2)
        masks = self._run(lambda builder: builder.masks, {"mix_stft": spectrum, "mix_spectrogram": tiles}, part)
        return {stem: mask[:, : self._bins] for stem, mask in masks.items()}

    def _run(self, fetches: Any, features: Masks, part: int = 0) -> Any:
        """Run what a builder over features has, in a plain session, restored from the checkpoint."""
        tf = tensorflow()
        from spleeter.model import EstimatorSpecBuilder

        v1, (found, params) = tf.compat.v1, self._parts[part]
        with tf.Graph().as_default(), v1.Session() as session:
            places = {name: v1.placeholder(value.dtype, value.shape) for name, value in features.items()}
            wanted = fetches(EstimatorSpecBuilder(dict(places), params))
            if variables := {variable.op.name: variable for variable in v1.global_variables()}:
                stored = tf.train.load_checkpoint(str(found.checkpoint))  # in float16, some of it
                values = {name: stored.get_tensor(name).astype(np.float32) for name in variables}
                checkpoints.load(session, variables, values)
            return session.run(wanted, {places[name]: value for name, value in features.items()})


@pytest.mark.parametrize(
    ("stems", "cutoff", "average"), [(4, "11kHz", True), (5, "16kHz", False)], ids=["4 stems full", "5 stems 16kHz"]
)
def test_streamed_stems_equal_the_whole_files(stems: int, cutoff: str, average: bool, folder: Path) -> None:
    found, audio = folders.find("auto", stems, folder), song(SAMPLES, seed=stems)
    expected = WholeFile(found, cutoff)(audio, average)
    opened = open_engine("openvino", "float32", found, cutoff)  # the other's masks are compared above
    blocks = list(separate_blocks([audio[:77_777], audio[77_777:]], opened, STEMS[stems], average=average))
    for stem in STEMS[stems]:
        actual = np.concatenate([block[stem] for block in blocks])
        difference = np.abs(actual - expected[stem]).max()
        print(f"{found.label} {cutoff} {stem}: {difference:.1e}")
        assert actual.shape == expected[stem].shape == audio.shape and difference < TOLERANCE, stem
        assert np.abs(actual).max() > 0.01


@pytest.mark.parametrize("stems", [4, 5])
def test_the_stems_add_up_to_the_song_and_are_named(stems: int, folder: Path, tmp_path: Path) -> None:
    audio = song(SAMPLES, seed=9)
    # As a suspect's own process gets it.
    separator: Separator = pickle.loads(pickle.dumps(Separator(folder)))
    done = separator(write_wav(tmp_path / "song.wav", audio), tmp_path, stems=stems, output="wav32")
    assert done.model == f"official vocals + builtin {stems}stems"
    assert [file.stem for file in done.files] == list(STEMS[stems])
    assert np.abs(sum(read(file) for file in done.files) - audio).max() < 4e-6
    named = "official 2stems, official vocals + builtin 4stems, official vocals + builtin 5stems"
    assert separator.label() == named


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_damaged_is_named(engine: str, folder: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(folder, tmp_path / "models")
    found = folders.find("auto", 4, damaged)
    shard = damaged / "2stems" / "model.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-5000])
    with pytest.raises(ConfigurationError, match=r"^official 2stems: 'model.*' is damaged$"):
        open_engine(engine, "float32", found, "11kHz")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is given back")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_both_networks_do_without_their_kernels(
    precision: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_engine, "_independent", {})
    OpenvinoEngine(folders.find("auto", 5, folder), "11kHz", precision)
    assert list(openvino_engine._independent.values()) == [True]
    assert "stay in memory" not in caplog.text


def test_both_networks_are_let_go(folder: Path) -> None:
    real = Networks(folder, "auto", "openvino", "auto", 0.0)
    with real.use(5, "11kHz") as opened:
        reference = weakref.ref(opened)
    del opened
    assert reference() is not None
    real.drop_idle()
    assert reference() is None
