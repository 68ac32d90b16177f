"""What each part of a separation into 2 stems costs in CPU time, measured alone and one tile after the other."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ezstems.audio import stft
from ezstems.audio.decode import SAMPLE_RATE_HZ, decode
from ezstems.audio.encode import Writer
from ezstems.network.choice import open_engine
from ezstems.weights import folders
from tests.benchmarks import table
from tests.benchmarks.machine import cpu_seconds

STEMS = 2
TILE_SECONDS = stft.TILE_SAMPLES / SAMPLE_RATE_HZ
TILES = 8  # measured of each part, after one that doesn't count


@dataclass(frozen=True)
class Part:
    """Hold the CPU seconds that one part takes a tile, and how many tiles of it the song has."""

    name: str
    tile_seconds: float
    tiles: float

    @property
    def song_seconds(self) -> float:
        """Return the CPU seconds that the song takes."""
        return self.tile_seconds * self.tiles


def print_table(song: Path, models: Path, cpu_seconds: float) -> None:
    """Print what each part costs, alone and their sum, beside what a whole separation used."""
    measured = separation(song, models)
    print(f"\nCPU time of each part, alone, {STEMS} stems as WAV; a tile is {TILE_SECONDS:.2f} seconds of audio:\n")
    table.head("part", "ms a tile", "tiles", "CPU-seconds")
    for part in measured:
        table.line(part.name, f"{1000 * part.tile_seconds:.1f}", f"{part.tiles:.1f}", f"{part.song_seconds:.2f}")
    table.line("sum", "", "", f"{sum(part.song_seconds for part in measured):.2f}")
    table.line("the engine's second run, all threads at work", "", "", f"{cpu_seconds:.2f}")


def separation(song: Path, models: Path) -> list[Part]:
    """Measure each part, by the tiles of this song; it must have more than `TILES`."""
    before = cpu_seconds()
    with decode(song, block_samples=stft.TILE_SAMPLES) as decoding:
        for _ in decoding:
            pass  # as in a separation, no block is kept
    decode_seconds = cpu_seconds() - before
    length = decoding.samples / stft.TILE_SAMPLES
    blocks = _blocks(song)
    tiles = [tile for tile, _ in stft.tiles(blocks)]
    engine = open_engine("auto", "auto", folders.find("official", STEMS, models), "11kHz")
    runner, workspace = engine.runner(), stft.Workspace(engine.bins, average=False)
    magnitudes = [workspace.magnitudes(tile).copy() for tile in tiles[: TILES + 1]]
    masks = [next(iter(runner(array).values())).copy() for array in magnitudes]
    inverse = _median(workspace.waveform, masks)
    network = f"network ({engine.name}, {engine.precision}), {STEMS} stems"
    return [
        Part("decoding (ffmpeg, and reading its pipe)", decode_seconds / length, length),
        Part("STFT", _median(workspace.magnitudes, tiles[: TILES + 1]), length),
        Part(network, _median(runner, magnitudes), len(tiles)),
        Part(f"masks and inverse STFT, {STEMS} stems", STEMS * inverse, length),
        Part(f"PCM and writing, {STEMS} stems", STEMS * _written(blocks, "wav") / length, length),
    ]


def lame_seconds(song: Path) -> float:
    """Measure the CPU seconds that one stem of this song takes as MP3."""
    return _written(_blocks(song), "mp3")


def _blocks(song: Path) -> list[np.ndarray]:
    with decode(song, block_samples=stft.TILE_SAMPLES) as decoding:
        return list(decoding)


def _median(work: Callable[[np.ndarray], Any], arrays: Iterable[np.ndarray]) -> float:
    seconds = []
    for array in arrays:
        before = cpu_seconds()
        work(array)
        seconds.append(cpu_seconds() - before)
    return median(seconds[1:])


def _written(blocks: Iterable[np.ndarray], output: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        before = cpu_seconds()
        with Writer(Path(folder) / f"stem.{output}", output) as writer:
            for block in blocks:
                writer.write(block)
            writer.finish()
        return cpu_seconds() - before
