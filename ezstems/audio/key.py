"""The key of a song, of the magnitudes that the separation computes anyway.

Each peak of a frame's spectrum counts for the pitch class that it is nearest to, whatever the song is tuned to. The
key is the one whose profile correlates best with how much of each class there is: Krumhansl's method, with profiles
that Albrecht and Shanahan counted in "The Use of Large Corpora to Train a New Type of Key-Finding Algorithm"
(2013). Memory is the same for every length.
"""

from dataclasses import dataclass

import numpy as np

from ezstems.audio.decode import SAMPLE_RATE_HZ
from ezstems.network.tile import FRAME_SAMPLES

NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
LEAST_CORRELATION = 0.5
FINE = 10  # parts of a semitone
_MAJOR = np.array([0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081])
_MINOR = np.array([0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052])
_PROFILES = np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
_FRAMES_APART = 8  # five a second
_LOWEST, _HIGHEST = 10, 200  # bins, 108 Hz to 2.2 kHz
_FLOOR = 0.02  # of a frame's highest peak


@dataclass(frozen=True)
class Key:
    """Name a key, as in "A minor", and say how clear it is, 0 to 1."""

    name: str
    confidence: float


def spectra(magnitudes: np.ndarray) -> np.ndarray:
    """Return the part of float32 magnitudes (frames, bins, 2) that `pitches` hears, both channels together."""
    part = magnitudes[::_FRAMES_APART, _LOWEST - 1 : _HIGHEST + 1]
    both: np.ndarray = part[:, :, 0] + part[:, :, 1]  # a sum over pairs takes four times as long
    return both


def pitches(part: np.ndarray) -> np.ndarray:
    """Return how much there is of each tenth of a semitone, whatever the octave.

    Takes some `spectra`. Returns float64 (120,), from C of the tuning with a' = 440 Hz; each frame counts alike,
    however loud it is, but for silent ones.
    """
    part = np.nan_to_num(part, posinf=0.0)  # of a float file whose samples are no numbers
    here = part[:, 1:-1]
    highest = here.max(axis=1, initial=0.0, keepdims=True)
    is_peak = (here > part[:, :-2]) & (here >= part[:, 2:]) & (here > _FLOOR * highest) & (highest > 1e-3)
    frame, place = np.nonzero(is_peak)
    left, middle, right = (np.log(part[frame, place + shift] + 1e-9) for shift in range(3))
    bins = _LOWEST + place + 0.5 * (left - right) / np.minimum(left - 2 * middle + right, -1e-9)
    semitones = 12 * np.log2(bins * (SAMPLE_RATE_HZ / FRAME_SAMPLES) / 440.0) + 69
    weights = np.sqrt(here[frame, place] / highest[frame, 0])
    fine = np.rint(semitones * FINE).astype(int) % (12 * FINE)
    return np.bincount(fine, weights, 12 * FINE)


def key_of(histogram: np.ndarray) -> Key | None:
    """Estimate the key from the sum of `pitches`; None where no pitch class stands out, or nothing was heard."""
    if not histogram.any():
        return None
    classes = _tuned(histogram)
    if classes.std() < 1e-6 * classes.mean():
        return None
    fits = np.corrcoef(_PROFILES, classes)[-1, :-1]
    best = int(fits.argmax())
    if fits[best] < LEAST_CORRELATION:
        return None
    return Key(f"{NAMES[best % 12]} {('major', 'minor')[best // 12]}", float(fits[best]))


def _tuned(histogram: np.ndarray) -> np.ndarray:
    """Return the pitch classes, float64 (12,), about the tuning that most peaks are nearest to."""
    turns = np.exp(2j * np.pi * np.arange(FINE) / FINE)
    offset = np.angle((histogram.reshape(12, FINE).sum(axis=0) * turns).sum()) / (2 * np.pi) * FINE
    centred = np.roll(histogram, FINE // 2 - round(offset))
    kernel = np.cos(np.pi * (np.arange(FINE) - FINE / 2) / FINE) ** 2
    folded: np.ndarray = centred.reshape(12, FINE) @ kernel
    return folded
