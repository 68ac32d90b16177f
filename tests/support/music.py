"""A little song whose stems are known: a band of tones and noise, and a singer."""

import numpy as np
from scipy.signal import fftconvolve, lfilter

from tests.support.audio_files import RATE_HZ

SONG_SECONDS = 11.5
SUNG_SECONDS = (3.0, 10.0)
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
