"""The bundled model: whole, small, in Spleeter's layout, and really trained."""

from pathlib import Path

import numpy as np
import pytest

import ezstems.builtin
from ezstems.audio.separate import Separator
from ezstems.builtin.recipe.songs import effects, formants, instruments, parts
from ezstems.builtin.recipe.songs.midi import Part, midi_file
from ezstems.builtin.recipe.songs.song import compose
from ezstems.network.configuration import configuration
from ezstems.weights.folders import find
from tests.support.audio_files import RATE_HZ, read, write_wav
from tests.support.music import SUNG_SECONDS, backing, sdr_db, voice
from tests.support.tensorflow import tensorflow

FOLDER = Path(ezstems.builtin.__file__).parent
SIZE_LIMIT_BYTES = 10_000_000
MARGIN_DB = 4.0


def vocal_share(separated: dict[str, np.ndarray], start: int, end: int) -> float:
    """Return the vocals' share of the stems' energy between two samples."""
    energy = {name: float((audio[start:end] ** 2).sum()) for name, audio in separated.items()}
    return energy["vocals"] / sum(energy.values())


def test_it_is_small() -> None:
    size_bytes = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert 1_000_000 < size_bytes < SIZE_LIMIT_BYTES


@pytest.mark.parametrize("stems", [2, 4, 5])
def test_every_variable_of_spleeters_graph_is_there_and_nothing_else(stems: int, tmp_path: Path) -> None:
    weights = find("builtin", stems, tmp_path)
    assert weights.checkpoint == FOLDER / f"{stems}stems" / "model"
    assert (FOLDER / f"{stems}stems" / ".probe").is_file()
    tf = tensorflow()
    from spleeter.model import EstimatorSpecBuilder

    params = configuration(weights, "11kHz")
    with tf.Graph().as_default():
        magnitudes = tf.compat.v1.placeholder(tf.float32, (1, params["T"], params["F"], 2))
        _ = EstimatorSpecBuilder({"mix_spectrogram": magnitudes, "mix_stft": magnitudes}, params).model_outputs
        shapes = {variable.op.name: variable.shape.as_list() for variable in tf.compat.v1.global_variables()}
    reader = tf.train.load_checkpoint(str(weights.checkpoint))
    assert reader.get_variable_to_shape_map() == shapes
    for name in shapes:
        assert np.isfinite(reader.get_tensor(name).astype(np.float32)).all(), name


def test_models_share_their_nets(tmp_path: Path) -> None:
    tf = tensorflow()
    two, four, five = (
        tf.train.load_checkpoint(str(find("builtin", stems, tmp_path).checkpoint)) for stems in (2, 4, 5)
    )
    kernels = [reader.get_tensor("conv2d/kernel") for reader in (two, four, five)]
    assert np.array_equal(kernels[0], kernels[1]) and np.array_equal(kernels[0], kernels[2])
    assert not np.array_equal(kernels[0], two.get_tensor("conv2d_7/kernel"))


def test_it_tells_a_voice_from_a_band(tmp_path: Path) -> None:
    """Beat the best constant mask, which a net that learned nothing can't, and hear when somebody sings."""
    truth = {"vocals": voice(), "accompaniment": backing()}
    source = write_wav(tmp_path / "song.wav", truth["vocals"] + truth["accompaniment"])
    separation = Separator(tmp_path, model="builtin")(source, tmp_path, stems=2)
    separated = {path.stem: read(path) for path in separation.files}
    energy = {name: float((audio**2).sum()) for name, audio in truth.items()}
    for name, other in (("vocals", "accompaniment"), ("accompaniment", "vocals")):
        constant_mask_db = 10 * np.log10(1 + energy[name] / energy[other])
        assert sdr_db(truth[name], separated[name]) > constant_mask_db + MARGIN_DB, name
    start, end = (int(seconds * RATE_HZ) for seconds in SUNG_SECONDS)
    assert vocal_share(separated, start, end) > 4 * vocal_share(separated, 0, start - RATE_HZ // 2)


def test_a_song_is_a_function_of_its_seed() -> None:
    def score(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        song = compose(rng, 30.0)
        players = (parts.drums, parts.bass, parts.piano, parts.other)
        return b"".join(midi_file(part, song.tempo_bpm) for play in players for part in play(song, rng))

    assert score(1) == score(1) != score(2)
    assert len(score(1)) > 1000


@pytest.mark.parametrize("role", ["bass", "piano", "guitar", "pad", "lead", "arpeggio"])
def test_an_instrument_of_our_own_sounds_while_its_notes_do_and_differs_from_the_next(role: str) -> None:
    def played(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        song = compose(rng, 8.0)
        part = Part(np.random.default_rng(seed), role, 0)
        part.note(2 * song.tempo_bpm / 60, 45, 1.0, 100)
        part.note(1000, 45, 1.0, 100)  # after the song's end
        return instruments.play(part, song)

    audio = played(1)
    assert audio.shape == (8 * RATE_HZ, 2) and audio.dtype == np.float32 and np.isfinite(audio).all()
    loudness = np.sqrt((audio**2).mean(axis=1))
    assert not loudness[: int(1.8 * RATE_HZ)].any()
    assert loudness[2 * RATE_HZ : int(2.4 * RATE_HZ)].mean() > 100 * loudness[int(7.5 * RATE_HZ) :].mean()
    assert np.array_equal(audio, played(1)) and not np.allclose(audio, played(2))


def test_a_voice_of_formants_has_the_resonances_of_its_vowels_and_noise_where_it_has_no_pitch() -> None:
    rng = np.random.default_rng(3)
    spectra, noise, voiced = formants.articulate([100] * 40, formants.draw_throat(rng, 1.0), rng)
    assert spectra.shape == noise.shape == (4000, formants.BINS) and voiced.shape == (4000,)
    assert (spectra > 0).all() and (noise > 0).all() and (noise < 1).all()
    assert 0.8 < voiced.mean() < 1.0
    assert noise[~voiced].min() > 0.99 and noise[voiced, :100].max() < 0.5
    low = slice(0, int(1200 / 22050 * formants.BINS))
    assert (spectra[voiced][:, low].sum(axis=1) > 0.5 * spectra[voiced].sum(axis=1)).mean() > 0.9


def test_effects_leave_silence_silent_and_their_input_alone() -> None:
    silence = np.zeros((RATE_HZ, 2), np.float32)
    swell = np.linspace(0, 0.4, RATE_HZ)[:, None] ** 2
    noise = (np.random.default_rng(1).normal(size=(RATE_HZ, 2)) * swell).astype(np.float32)
    before = noise.copy()
    for effect in (effects.colour, effects.compress, effects.reverberate):
        assert not effect(silence, np.random.default_rng(2)).any(), effect
        changed = effect(noise, np.random.default_rng(2))
        assert changed.shape == noise.shape and changed.dtype == np.float32 and not np.array_equal(changed, noise)
    assert not effects.normalise(silence).any()
    assert np.sqrt((effects.normalise(noise) ** 2).mean()) == pytest.approx(effects.STEM_RMS, rel=0.2)
    assert np.array_equal(noise, before)
