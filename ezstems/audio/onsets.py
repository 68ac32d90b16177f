"""Where something begins to sound: a number a frame, of the magnitudes that the separation computes anyway.

It is the spectral flux: how much louder, on a scale of logarithms, each band of the spectrum has become since the
frame before. Memory grows by one float32 a frame, 0.6 MB an hour.
"""

import numpy as np

from ezstems.audio.decode import SAMPLE_RATE_HZ
from ezstems.audio.stft import HOP_SAMPLES

FRAMES_PER_SECOND = SAMPLE_RATE_HZ / HOP_SAMPLES
# How far a sound has come into a frame's window where it is noticed: a third, as measured with clicks and drums.
_ENTERED_SAMPLES = 1385
_EDGES = np.unique(np.rint(np.geomspace(3, 1024, 25)).astype(int))  # bins, from 32 Hz to 11 kHz
_GAINS = (10.0 / 2 / np.diff(_EDGES)).astype(np.float32)  # of the mean of a band, both channels
_SHARES = np.full(len(_GAINS), 1 / len(_GAINS), np.float32)  # of a band in the flux


def band_levels(magnitudes: np.ndarray) -> np.ndarray:
    """Return how loud each band of the spectrum is in each frame.

    Takes float32 magnitudes (frames, bins, 2), both channels, at least 1024 bins of 10.8 Hz. Returns float32 (frames,
    bands): the logarithm of a band's mean magnitude, 0 for silence, no number where the song has none.
    """
    interleaved = magnitudes.reshape(len(magnitudes), -1)[:, : 2 * _EDGES[-1]]
    levels: np.ndarray = np.add.reduceat(interleaved, 2 * _EDGES[:-1], axis=1)
    levels *= _GAINS
    return np.log1p(levels, out=levels)


class Onsets:
    """Collect the spectral flux of consecutive frames."""

    def __init__(self) -> None:
        self._last = np.zeros((1, len(_EDGES) - 1), np.float32)
        self._parts: list[np.ndarray] = []

    def add(self, levels: np.ndarray) -> None:
        """Add the next frames' `band_levels`."""
        if not len(levels):
            return
        rises = np.empty_like(levels)
        with np.errstate(invalid="ignore"):  # of a float file whose samples are no numbers
            np.subtract(levels[:1], self._last, out=rises[:1])
            np.subtract(levels[1:], levels[:-1], out=rises[1:])
            flux = np.maximum(rises, 0, out=rises) @ _SHARES
        self._parts.append(np.nan_to_num(flux, copy=False, posinf=0.0))
        self._last = levels[-1:].copy()

    def envelope(self) -> np.ndarray:
        """Return the flux of every frame, float32 (frames,), `FRAMES_PER_SECOND` of them a second."""
        return np.concatenate([np.zeros(0, np.float32), *self._parts])


def seconds_at(frames: np.ndarray) -> np.ndarray:
    """Return when in the song a frame's flux says that something began; frames may be fractions."""
    return (frames * HOP_SAMPLES - _ENTERED_SAMPLES) / SAMPLE_RATE_HZ
