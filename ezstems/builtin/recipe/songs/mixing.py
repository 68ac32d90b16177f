"""Training examples: crops of the corpus as spectrograms, remixed anew for every step.

A batch is a pure function of the songs, the seed, the stage and the step, so a resumed training goes on with the
batches that an uninterrupted one would have seen.
"""

from zlib import crc32

import numpy as np
import scipy.fft

from ezstems.builtin.recipe.nets.nets import STEM_INDICES
from ezstems.builtin.recipe.songs.corpus import STEMS

FRAME_SAMPLES, HOP_SAMPLES, BINS = 4096, 1024, 1024
FRAMES = 128
BATCH = 4
POOL = 96  # crops in memory at once, 10 MB each
FRESH_PER_STEP = 1
LEVELS_DB = (-32.0, 2.0)  # of a whole mixture: quiet music is as common as loud music
WINDOW = np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)
CROP_SAMPLES = (FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES


def spectrogram(audio: np.ndarray) -> np.ndarray:
    """Return the STFT that Spleeter's network sees, without its padding of the beginning.

    audio: float32 (samples, 2). Returns complex64 (frames, 1024 bins, 2).
    """
    frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME_SAMPLES, axis=0)[::HOP_SAMPLES]
    return scipy.fft.rfft(frames * WINDOW, axis=-1)[:, :, :BINS].transpose(0, 2, 1)


class Mixer:
    """Make the batches of a stage of the training, different ones for each seed and stage."""

    def __init__(self, songs: list[np.ndarray], seed: int, stage: str, mono_share: float) -> None:
        self._songs = songs
        self._mono_share = mono_share
        self._entropy = [seed, crc32(stage.encode())]
        self._pool: dict[int, np.ndarray] = {}

    def batch(self, step: int, names: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the mixtures' magnitudes and, by net, the share of each to estimate.

        All are float32 (batch, frames, bins, 2). A target is the part of its stems that is in phase with the mixture,
        between nothing and all of the mixture: the best that a mask on the mixture can do.
        """
        self._refresh(step)
        rng = np.random.default_rng([*self._entropy, 1, step])
        mixtures = np.empty((BATCH, FRAMES, BINS, 2), np.float32)
        targets = {name: np.empty_like(mixtures) for name in names}
        for item in range(BATCH):
            stems = self._mix(rng)
            mixture = stems.sum(axis=0)
            magnitude = np.abs(mixture)
            mixtures[item] = magnitude
            direction = mixture / np.maximum(magnitude, 1e-9)
            shares = stems.real * direction.real + stems.imag * direction.imag
            for name in names:
                share = shares[STEM_INDICES[name]].sum(axis=0)
                np.clip(share, 0, magnitude, out=targets[name][item])
        return mixtures, targets

    def _refresh(self, step: int) -> None:
        """Hold the crops of a step: one leaves and one comes with each step."""
        wanted = range(step * FRESH_PER_STEP, step * FRESH_PER_STEP + POOL)
        for number in [number for number in self._pool if number not in wanted]:
            del self._pool[number]
        for number in wanted:
            if number not in self._pool:
                self._pool[number] = self._crop(np.random.default_rng([*self._entropy, 0, number]))

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        """Cut all stems at one place of one song, played faster or slower; return their spectrograms."""
        song = self._songs[rng.integers(len(self._songs))]
        speed = float(np.exp(rng.uniform(-0.18, 0.18))) if rng.random() < 0.6 else 1.0
        length = int(CROP_SAMPLES * speed) + 2
        start = int(rng.integers(song.shape[1] - length))
        audio = song[:, start : start + length].astype(np.float32) / 32768
        if speed != 1.0:
            position = np.arange(CROP_SAMPLES) * speed
            before = position.astype(int)
            after_share = (position - before).astype(np.float32)[:, None]
            audio = audio[:, before] * (1 - after_share) + audio[:, before + 1] * after_share
        return np.stack([spectrogram(stem[:CROP_SAMPLES]) for stem in audio])

    def _mix(self, rng: np.random.Generator) -> np.ndarray:
        """Combine stems of one crop, or of different ones, as another producer would; return them unsummed."""
        numbers = sorted(self._pool)
        together = rng.random() < 0.5
        crop = numbers[rng.integers(len(numbers))]
        level_db = rng.uniform(*LEVELS_DB)
        mono = rng.random() < self._mono_share
        stems = np.empty((len(STEMS), FRAMES, BINS, 2), np.complex64)
        for index, name in enumerate(STEMS):
            source = self._pool[crop if together else numbers[rng.integers(len(numbers))]][index]
            absent = rng.random() < (0.12 if name == "vocals" else 0.15)
            gain = 0.0 if absent else 10 ** ((level_db + rng.normal(1.5 if name == "vocals" else 0.0, 4)) / 20)
            curve = _equaliser(rng) if rng.random() < 0.5 else np.ones((BINS, 1), np.float32)
            flip = -1 if rng.random() < 0.5 else 1
            np.multiply(source[..., ::flip], np.float32(gain) * curve, out=stems[index])
            if mono:
                stems[index] = stems[index].mean(axis=-1, keepdims=True)
        return stems


def _equaliser(rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth gain curve, (bins, 1) float32, of about 3 dB up and down."""
    curve_db = np.interp(np.log(np.arange(BINS) + 2), np.linspace(0, 7, 7), rng.normal(0, 3, 7))
    return (10 ** (curve_db / 20)).astype(np.float32)[:, None]
