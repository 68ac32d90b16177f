"""The bundled model: whole, small, in Spleeter's layout, and really trained."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import fftconvolve, lfilter

import ezstems.builtin
from ezstems.audio.runtimes import tensorflow
from ezstems.audio.separate import Separator
from ezstems.audio.unet import configuration
from ezstems.audio.weights import find
from ezstems.builtin import effects, parts
from ezstems.builtin.midi import midi_file
from ezstems.builtin.songs import compose
from tests.audio.audio_files import RATE_HZ, read, write_wav

FOLDER = Path(ezstems.builtin.__file__).parent
SIZE_LIMIT_BYTES = 10_000_000
SONG_SECONDS = 11.5
SUNG_SECONDS = (3.0, 10.0)
MARGIN_DB = 4.0

CHORDS_HZ = ((220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (130.8, 164.8, 196.0), (196.0, 246.9, 293.7))
MELODY_HZ = (197.8, 235.2, 264.0, 235.2, 209.5, 197.8, 176.2)
VOWELS_HZ = ((700.0, 1200.0, 2600.0), (400.0, 2000.0, 2600.0), (450.0, 850.0, 2500.0), (300.0, 2250.0, 3000.0))
WIDTHS_HZ = (90, 110, 160)


def backing() -> np.ndarray:
    """Make a band of tones and noise: float32 (samples, 2) of plucked chords, a bass, a kick, a snare and a hi-hat."""
    random = np.random.default_rng(3)
    seconds = np.arange(int(SONG_SECONDS * RATE_HZ)) / RATE_HZ
    since_beat, bar = seconds % 0.5, (seconds // 2).astype(int) % 4
    audio = np.zeros((len(seconds), 2))
    for voice, place in enumerate(((0.9, 0.5), (0.7, 0.7), (0.5, 0.9))):
        hz = np.array([chord[voice] for chord in CHORDS_HZ])[bar]
        tone = sum(np.sin(2 * np.pi * hz * k * seconds) / k**1.5 for k in range(1, 9))
        audio += 0.05 * np.outer(tone * np.exp(-3 * since_beat), place)
    bass_hz = np.array([chord[0] for chord in CHORDS_HZ])[bar] / 2
    audio += 0.1 * (np.sin(2 * np.pi * bass_hz * seconds) * np.exp(-2 * since_beat))[:, None]
    noise = random.normal(size=len(seconds))
    kick = np.sin(2 * np.pi * 55 * since_beat) * np.exp(-25 * since_beat) * (seconds % 1 < 0.5)
    snare = noise * np.exp(-30 * since_beat) * (seconds % 1 >= 0.5)
    hat = np.diff(noise, prepend=0) * np.exp(-60 * (seconds % 0.25))
    audio += (0.3 * kick + 0.12 * snare + 0.03 * hat)[:, None]
    return audio.astype(np.float32)


def voice() -> np.ndarray:
    """Make a singer: float32 (samples, 2), three syllables a second with a consonant, a vowel and an unsteady pitch."""
    random = np.random.default_rng(5)
    seconds = np.arange(int(SONG_SECONDS * RATE_HZ)) / RATE_HZ
    start, end = SUNG_SECONDS
    sung = np.clip(seconds - start, 0, end - start)
    smooth = np.hanning(RATE_HZ // 12) / np.hanning(RATE_HZ // 12).sum()
    wander = lfilter([0.03], [1, -0.9995], random.normal(size=len(seconds)))
    semitones = 0.4 * np.sin(2 * np.pi * 5.5 * seconds) + wander
    melody_hz = np.array(MELODY_HZ)[np.minimum(sung.astype(int), len(MELODY_HZ) - 1)]
    hz = fftconvolve(melody_hz, smooth, "same") * 2 ** (semitones / 12)
    vowels_hz = np.array(VOWELS_HZ)[(3 * sung).astype(int) % len(VOWELS_HZ)]
    formants_hz = [fftconvolve(centre_hz, smooth, "same") for centre_hz in vowels_hz.T]
    tone, phase = np.zeros(len(seconds)), 2 * np.pi * np.cumsum(hz) / RATE_HZ
    for harmonic in range(1, 50):
        gain = 0.02
        for centre_hz, width_hz in zip(formants_hz, WIDTHS_HZ, strict=True):
            gain = gain + 1 / (1 + ((harmonic * hz - centre_hz) / width_hz) ** 2)
        tone += gain / harmonic * np.sin(harmonic * phase)
    since_onset = sung % (1 / 3)
    tone *= np.clip(25 * (since_onset - 0.07), 0, 1) * np.clip(25 * (1 / 3 - since_onset), 0, 1)
    hiss = np.diff(random.normal(size=len(seconds)), n=2, prepend=[0, 0])
    consonants = hiss / hiss.std() * np.sin(np.pi * np.clip(since_onset / 0.09, 0, 1))
    audio = (tone / tone[sung > 0].std() + 0.4 * consonants) * ((seconds >= start) & (seconds < end))
    return np.repeat(0.1 * audio[:, None], 2, axis=1).astype(np.float32)


def sdr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return 10 log10 |s|²/|s - ŝ|²."""
    return float(10 * np.log10((reference**2).sum() / ((reference - estimate) ** 2).sum()))


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


def test_it_tells_a_voice_from_a_band(builtin_models: Path, tmp_path: Path) -> None:
    """Beat the best constant mask, which a net that learned nothing can't, and hear when somebody sings."""
    truth = {"vocals": voice(), "accompaniment": backing()}
    source = write_wav(tmp_path / "song.wav", truth["vocals"] + truth["accompaniment"])
    separation = Separator(builtin_models, model="builtin")(source, tmp_path, stems=2)
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
        return midi_file([event for play in players for event in play(song, rng)], song.tempo_bpm)

    assert score(1) == score(1) != score(2)
    assert len(score(1)) > 1000


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
