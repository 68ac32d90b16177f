"""Spleeter's STFT and its inverse over a stream: tiles of 512 frames that carry their overlap.

Definition (`spleeter.model.EstimatorSpecBuilder`): 4096 zeros go before the signal; frames of 4096 samples every
1024, the last ones padded with zeros; periodic Hann window both ways; the overlap-added inverse, times 2/3, loses its
first 4096 samples and everything past the signal.

Both channels go through one complex transform, the left one as its real and the right one as its imaginary part, which
is how their samples lie in memory: with Z the transform of l + ir, the left spectrum is (Z[k] + conj Z[-k]) / 2 and i
times the right one (Z[k] - conj Z[-k]) / 2. It takes two thirds of the time of two real transforms (`make bench`).
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from scipy import fft

from ezstems.network.tile import BINS, FRAME_SAMPLES, TILE_FRAMES

HOP_SAMPLES = 1024
TILE_SAMPLES = TILE_FRAMES * HOP_SAMPLES
OVERLAP = FRAME_SAMPLES // HOP_SAMPLES  # hops that a frame covers
OVERLAP_SAMPLES = FRAME_SAMPLES - HOP_SAMPLES
CHUNK_FRAMES = 32  # frames transformed at a time: what they need stays in the cache

_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)).astype(np.float32)
# Both twice, for left and right; the first with the 1/2 that parts the channels.
_FORWARD = np.repeat(_WINDOW * np.float32(1 / 2), 2)
_INVERSE = np.repeat(_WINDOW * np.float32(2 / 3), 2)


def tiles(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """Cut a stream of blocks into overlapping tiles.

    Takes float32 blocks (n, 2) of any length. Yields float32 (TILE_SAMPLES + OVERLAP_SAMPLES, 2), the samples under
    512 frames, with the number of those that begin no later tile and belong to the padded signal: TILE_SAMPLES, or
    fewer in the last tile.
    """
    tile = np.zeros((TILE_SAMPLES + OVERLAP_SAMPLES, 2), np.float32)
    filled = FRAME_SAMPLES
    for block in blocks:
        while len(block):
            count = min(len(block), len(tile) - filled)
            tile[filled : filled + count] = block[:count]
            filled, block = filled + count, block[count:]
            if filled == len(tile):
                yield tile, TILE_SAMPLES
                tile, filled = _next(tile), OVERLAP_SAMPLES
    while filled > 0:
        tile[filled:] = 0
        yield tile, min(filled, TILE_SAMPLES)
        tile, filled = _next(tile), filled - TILE_SAMPLES


def frames(count: int) -> int:
    """Return how many of a tile's frames hold any of the samples that `tiles` counted."""
    return -(-count // HOP_SAMPLES)


def _next(tile: np.ndarray) -> np.ndarray:
    following = np.empty_like(tile)
    following[:OVERLAP_SAMPLES] = tile[TILE_SAMPLES:]
    return following


class Workspace:
    """Hold the arrays that one tile in flight needs; used by one thread at a time."""

    def __init__(self, bins: int, average: bool) -> None:
        """Make room for masks over the lowest `bins` of the spectrum.

        Above them the spectrum is cut, or, with `average`, scaled by each frame's mean mask: Spleeter's
        `mask_extension`, "zeros" or "average".
        """
        kept = BINS if average else bins
        self._bins = bins
        self._frames = 0
        self._spectrum = np.empty((TILE_FRAMES, kept, 2), np.complex64)  # of the left, and i times that of the right
        self._magnitudes = np.zeros((TILE_FRAMES, bins, 2), np.float32)
        self._framed = np.empty((CHUNK_FRAMES, FRAME_SAMPLES), np.complex64)
        self._mirrored = np.empty((CHUNK_FRAMES, kept), np.complex64)
        self._masked = np.empty((CHUNK_FRAMES, kept, 2), np.complex64)
        self._packed = np.empty((CHUNK_FRAMES, FRAME_SAMPLES), np.complex64)

    def magnitudes(self, tile: np.ndarray, frames: int = TILE_FRAMES) -> np.ndarray:
        """Transform the first frames of a tile of samples, keep their spectrum, and return their magnitudes.

        Returns float32 (512, bins, 2), which the next call overwrites; frames past `frames` are taken for silent.
        """
        kept = self._spectrum.shape[1]
        samples = tile.reshape(-1)
        step, item = 2 * HOP_SAMPLES * samples.itemsize, samples.itemsize
        framed = np.lib.stride_tricks.as_strided(
            samples, (TILE_FRAMES, 2 * FRAME_SAMPLES), (step, item), writeable=False
        )
        for part in _chunks(frames):
            count = part.stop - part.start
            np.multiply(framed[part], _FORWARD, out=self._framed[:count].view(np.float32))
            spectrum = fft.fft(self._framed[:count], axis=1, overwrite_x=True)
            mirrored = self._mirrored[:count]
            mirrored[:, 0] = spectrum[:, 0]
            mirrored[:, 1:] = spectrum[:, :-kept:-1]
            np.conjugate(mirrored, out=mirrored)
            np.add(spectrum[:, :kept], mirrored, out=self._spectrum[part, :, 0])
            np.subtract(spectrum[:, :kept], mirrored, out=self._spectrum[part, :, 1])
            np.abs(self._spectrum[part, : self._bins], out=self._magnitudes[part])
        self._magnitudes[frames:] = 0
        self._frames = frames
        return self._magnitudes

    def waveform(self, mask: np.ndarray) -> np.ndarray:
        """Apply a mask, float32 (512, bins, 2), to the kept spectrum and transform it back.

        Returns float32 (515 hops, 1024, 2), overlap-added; the last three hops still lack the next tile's part.
        """
        bins, kept = self._bins, self._spectrum.shape[1]
        hops = np.zeros((TILE_FRAMES + OVERLAP - 1, HOP_SAMPLES, 2), np.float32)
        for part in _chunks(self._frames):
            count = part.stop - part.start
            masked, packed, mirrored = self._masked[:count], self._packed[:count], self._mirrored[:count]
            np.multiply(self._spectrum[part, :bins], mask[part], out=masked[:, :bins])
            if kept > bins:
                mean = mask[part].view(np.complex64).mean(axis=1)  # of both channels; along pairs it is slow
                np.multiply(self._spectrum[part, bins:, 0], mean.real, out=masked[:, bins:, 0])
                np.multiply(self._spectrum[part, bins:, 1], mean.imag, out=masked[:, bins:, 1])
            np.subtract(masked[:, :, 0], masked[:, :, 1], out=mirrored)
            np.conjugate(mirrored[:, 1:], out=packed[:, :-kept:-1])
            np.add(masked[:, :, 0], masked[:, :, 1], out=packed[:, :kept])
            packed[:, kept : FRAME_SAMPLES - kept + 1] = 0
            frames = fft.ifft(packed, axis=1, overwrite_x=True).view(np.float32)
            frames *= _INVERSE
            quarters = frames.reshape(count, OVERLAP, HOP_SAMPLES, 2)
            for quarter in range(OVERLAP):
                hops[part.start + quarter : part.stop + quarter] += quarters[:, quarter]
        return hops


def _chunks(frames: int) -> Iterator[slice]:
    for start in range(0, frames, CHUNK_FRAMES):
        yield slice(start, min(start + CHUNK_FRAMES, frames))


def overlap_add(waveforms: Iterable[tuple[Mapping[str, np.ndarray], int]]) -> Iterator[dict[str, np.ndarray]]:
    """Join the waveforms of consecutive tiles.

    Takes each tile's waveforms by name, as `Workspace.waveform` returns them (and may change them), with the count
    from `tiles`. Yields float32 blocks (n, 2) by name, all of one length, as long as the signal in all.
    """
    tails: dict[str, np.ndarray] = {}
    skip = FRAME_SAMPLES  # the zeros that went before the signal
    for hops, count in waveforms:
        for name, samples in hops.items():
            if name in tails:
                samples[: OVERLAP - 1] += tails[name]
            tails[name] = samples[TILE_FRAMES:].copy()
        if count > skip:
            yield {name: samples.reshape(-1, 2)[skip:count] for name, samples in hops.items()}
        skip = max(0, skip - count)
