"""Measure how loud a stem is along its time while it is written: the waveforms that the website draws.

Memory is bounded whatever the length: the first peaks are fine, and whenever there would be too many, neighbours merge.
What the song is like as music is kept with them.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ezstems.audio.decode import SAMPLE_RATE_HZ
from ezstems.audio.music import UNHEARD, Music

MAX_PEAKS = 8192  # of a stem: several a pixel on every screen, so that a part of a song can be drawn too
FIRST_SAMPLES = 512  # under a peak at first, 12 ms; finer ones are no better to see and take up to twice the time
FULL_SCALE_PCM, FULL_SCALE_PEAK = 32768, 255


class Meter:
    """Keep the highest absolute samples of one stem."""

    def __init__(self) -> None:
        self.samples = 0
        self.samples_per_peak = FIRST_SAMPLES
        self._highest = np.zeros(MAX_PEAKS, np.int32)

    def add(self, pcm: np.ndarray) -> None:
        """Measure the next int16 samples (n, 2), some of them, both channels alike."""
        start, end = self.samples, self.samples + len(pcm)
        while end > MAX_PEAKS * self.samples_per_peak:
            self._merge()
        step = self.samples_per_peak
        # Where each peak begins within these; the first may go on with the one that was left open.
        starts = 2 * np.maximum(np.arange(start // step, -(-end // step)) * step - start, 0)
        interleaved, highest = pcm.reshape(-1), self._highest[start // step :][: len(starts)]
        np.maximum(highest, np.maximum.reduceat(interleaved, starts), out=highest)
        np.maximum(highest, -np.minimum.reduceat(interleaved, starts).astype(np.int32), out=highest)
        self.samples = end

    def peaks(self) -> bytes:
        """Return a byte a peak, 255 being full scale."""
        count = -(-self.samples // self.samples_per_peak)
        return np.rint(self._highest[:count] * (FULL_SCALE_PEAK / FULL_SCALE_PCM)).astype(np.uint8).tobytes()

    def _merge(self) -> None:
        self._highest[: MAX_PEAKS // 2] = self._highest.reshape(-1, 2).max(axis=1)
        self._highest[MAX_PEAKS // 2 :] = 0
        self.samples_per_peak *= 2


@dataclass(frozen=True)
class Peaks:
    """Hold the peaks of all stems, which are as long as each other, and their song's tempo and key."""

    samples: int
    samples_per_peak: int
    stems: Mapping[str, bytes]
    music: Music = UNHEARD

    @classmethod
    def of(cls, meters: Mapping[str, Meter], music: Music = UNHEARD) -> "Peaks":
        """Read the stems' meters."""
        first = next(iter(meters.values()))
        stems = {name: meter.peaks() for name, meter in meters.items()}
        return cls(first.samples, first.samples_per_peak, stems, music)

    def json(self) -> str:
        """Write the peaks as the website's pages read them."""
        stems = {name: b64encode(peaks).decode() for name, peaks in self.stems.items()}
        rates = {"sample_rate": SAMPLE_RATE_HZ, "samples_per_peak": self.samples_per_peak}
        return json.dumps({"samples": self.samples, **rates, "stems": stems, **self.music.described()})
