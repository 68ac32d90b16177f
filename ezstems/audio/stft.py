"""Spleeter's STFT and its inverse over a stream: tiles of 512 frames that carry their overlap.

Definition (`spleeter.model.EstimatorSpecBuilder`): 4096 zeros go before the signal; frames of 4096 samples every
1024, the last ones padded with zeros; periodic Hann window both ways; the overlap-added inverse, times 2/3, loses its
first 4096 samples and everything past the signal.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from scipy import fft

FRAME_SAMPLES = 4096
HOP_SAMPLES = 1024
TILE_FRAMES = 512
TILE_SAMPLES = TILE_FRAMES * HOP_SAMPLES
BINS = FRAME_SAMPLES // 2 + 1
OVERLAP = FRAME_SAMPLES // HOP_SAMPLES  # hops that a frame covers
OVERLAP_SAMPLES = FRAME_SAMPLES - HOP_SAMPLES
CHUNK_FRAMES = 32  # frames transformed at a time: what they need stays in the cache

_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)).astype(np.float32)[:, None]
_INVERSE_WINDOW = (_WINDOW * np.float32(2 / 3)).astype(np.float32)


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
        self._bins = bins
        self._average = average
        self._spectrum = np.empty((TILE_FRAMES, BINS, 2), np.complex64)
        self._magnitudes = np.empty((TILE_FRAMES, bins, 2), np.float32)
        self._framed = np.empty((CHUNK_FRAMES, FRAME_SAMPLES, 2), np.float32)
        self._masked = np.zeros((CHUNK_FRAMES, BINS, 2), np.complex64)

    def magnitudes(self, tile: np.ndarray) -> np.ndarray:
        """Transform a tile of samples, keep its spectrum, and return the magnitudes, float32 (512, bins, 2)."""
        sample, channel = tile.strides
        frames = np.lib.stride_tricks.as_strided(
            tile, (TILE_FRAMES, FRAME_SAMPLES, 2), (HOP_SAMPLES * sample, sample, channel), writeable=False
        )
        for start in range(0, TILE_FRAMES, CHUNK_FRAMES):
            part = slice(start, start + CHUNK_FRAMES)
            np.multiply(frames[part], _WINDOW, out=self._framed)
            self._spectrum[part] = fft.rfft(self._framed, axis=1)
            np.abs(self._spectrum[part, : self._bins], out=self._magnitudes[part])
        return self._magnitudes

    def waveform(self, mask: np.ndarray) -> np.ndarray:
        """Apply a mask, float32 (512, bins, 2), to the kept spectrum and transform it back.

        Returns float32 (515 hops, 1024, 2), overlap-added; the last three hops still lack the next tile's part.
        """
        hops = np.zeros((TILE_FRAMES + OVERLAP - 1, HOP_SAMPLES, 2), np.float32)
        for start in range(0, TILE_FRAMES, CHUNK_FRAMES):
            part = slice(start, start + CHUNK_FRAMES)
            np.multiply(self._spectrum[part, : self._bins], mask[part], out=self._masked[:, : self._bins])
            if self._average:
                mean = mask[part].mean(axis=1, keepdims=True)
                np.multiply(self._spectrum[part, self._bins :], mean, out=self._masked[:, self._bins :])
            frames = fft.irfft(self._masked, n=FRAME_SAMPLES, axis=1)
            frames *= _INVERSE_WINDOW
            quarters = frames.reshape(CHUNK_FRAMES, OVERLAP, HOP_SAMPLES, 2)
            for quarter in range(OVERLAP):
                hops[start + quarter : start + quarter + CHUNK_FRAMES] += quarters[:, quarter]
        return hops


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
