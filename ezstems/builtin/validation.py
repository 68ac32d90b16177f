"""Figures of a model on songs that training never saw: `python -m ezstems.builtin.validation --work DIR`.

The songs come from seeds, a sound font and espeak-ng voices that are all held back from training.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import scipy.fft

from ezstems.builtin.corpus import open_corpus, render_corpus
from ezstems.builtin.graph import Graph
from ezstems.builtin.mixing import BINS, FRAME_SAMPLES, HOP_SAMPLES, WINDOW, spectrogram
from ezstems.builtin.nets import MODELS, STEM_INDICES

HELD_BACK_SOUND_FONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
HELD_BACK_VOICES = ("en-029", "en-us-nyc", "cy", "is", "lv")
SEEDS = range(900_001, 900_007)
CLIP_SECONDS = 20.0
CHUNK_SAMPLES = 44100
SILENT_RMS = 1e-3
TILE_FRAMES = 512
WINDOW_COMPENSATION = 2 / 3  # Spleeter's; four overlapping squared Hann windows sum to 3/2


def main() -> None:
    """Render what is missing of the validation songs, separate them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="the validation songs go here")
    parser.add_argument("--models", type=Path, default=Path(__file__).parent, metavar="DIR", help="default: bundled")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    directory = options.work / "validation"
    render_corpus(directory, SEEDS, sound_font=HELD_BACK_SOUND_FONT, voices=HELD_BACK_VOICES, seconds=CLIP_SECONDS)
    print("| model | stem | mixture | separated |\n| --- | --- | --- | --- |")
    for model, instruments in MODELS.items():
        for name, before, after in evaluate(options.models / model, open_corpus(directory), instruments):
            print(f"| {model} | {name} | {before:.1f} | {after:.1f} |")


def evaluate(folder: Path, songs: list[np.ndarray], instruments: dict[str, str]) -> list[tuple[str, float, float]]:
    """Return (instrument, median SDR of the mixture itself, median SDR of the separated stem), in dB."""
    before: dict[str, list[float]] = {name: [] for name in instruments}
    after: dict[str, list[float]] = {name: [] for name in instruments}
    with Graph(folder) as graph:
        for song in songs:
            stems = song.astype(np.float32) / 32768
            mixture = stems.sum(axis=0)
            for name, separated in zip(instruments, separate(graph, mixture), strict=True):
                reference = stems[STEM_INDICES[instruments[name]]].sum(axis=0)
                before[name] += distortions_db(reference, mixture)
                after[name] += distortions_db(reference, separated)
    return [(name, float(np.median(before[name])), float(np.median(after[name]))) for name in instruments]


def separate(graph: Graph, audio: np.ndarray) -> list[np.ndarray]:
    """Separate float32 (samples, 2) as Spleeter does, nothing above 11 kHz; return the stems, as long as the input."""
    frames = -(-(len(audio) + FRAME_SAMPLES) // HOP_SAMPLES)
    tiles = -(-frames // TILE_FRAMES)
    padded = np.zeros(((tiles * TILE_FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES, 2), np.float32)
    padded[FRAME_SAMPLES : FRAME_SAMPLES + len(audio)] = audio
    spectra = spectrogram(padded)
    masks = graph.masks(np.abs(spectra).reshape(tiles, TILE_FRAMES, BINS, 2))
    stems = []
    for mask in masks:
        masked = np.zeros((len(spectra), FRAME_SAMPLES // 2 + 1, 2), np.complex64)
        masked[:, :BINS] = spectra * mask.reshape(spectra.shape)
        blocks = scipy.fft.irfft(masked, axis=1) * (WINDOW[:, None] * np.float32(WINDOW_COMPENSATION))
        stem = np.zeros_like(padded)
        for index, block in enumerate(blocks):
            stem[index * HOP_SAMPLES : index * HOP_SAMPLES + FRAME_SAMPLES] += block
        stems.append(stem[FRAME_SAMPLES : FRAME_SAMPLES + len(audio)])
    return stems


def distortions_db(reference: np.ndarray, estimate: np.ndarray) -> list[float]:
    """Return 10 log10 |s|²/|s - ŝ|² over both channels for each second in which the reference is not silent."""
    ratios = []
    for start in range(0, len(reference) - CHUNK_SAMPLES + 1, CHUNK_SAMPLES):
        truth, guess = (audio[start : start + CHUNK_SAMPLES] for audio in (reference, estimate))
        energy = float((truth.astype(np.float64) ** 2).mean())
        if energy > SILENT_RMS**2:
            error = float(((truth - guess).astype(np.float64) ** 2).mean())
            ratios.append(10 * np.log10(energy / max(error, 1e-20)))
    return ratios


if __name__ == "__main__":
    main()
