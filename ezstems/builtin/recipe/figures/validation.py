"""Figures of a model on clips that training never heard.

    python -m ezstems.builtin.recipe.figures.validation --work DIR

The clips come from seeds, a sound font and voices that are all held back from training, and go through
`ezstems separate`. SDR is 10 log10 |s|²/|s - ŝ|² of a second; the tables give its median over all clips, in dB.
"""

import argparse
import logging
from collections import defaultdict
from functools import partial
from logging import getLogger
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ezstems.builtin.recipe.figures import clips
from ezstems.builtin.recipe.figures.clips import AS_IT_IS, VARIANTS, Variant
from ezstems.builtin.recipe.figures.sdr import distortions_db, ideal_stems
from ezstems.builtin.recipe.figures.separation import read_wav, separate
from ezstems.builtin.recipe.nets.nets import MODELS, STEM_INDICES
from ezstems.builtin.recipe.songs.corpus import STEMS, render_song, save

logger = getLogger(__name__)

Key = tuple[str, str]  # model and stem
Figures = dict[Key, float]


def main() -> None:
    """Render what is missing of the clips, separate them and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="the clips go to validation/ in it")
    parser.add_argument("--models", type=Path, metavar="DIR", help="has 2stems/, 4stems/ and 5stems/; default: bundled")
    parser.add_argument("--invariance", action="store_true", help="also print what changes in changed clips")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    directory = options.work / "validation"
    songs = render_clips(directory)
    before, ideal = mixtures_db(songs), ideals_db(songs)
    after = separated_db(songs, AS_IT_IS, options.models, directory)
    print("| model | stem | mixture | separated | ideal ratio mask |\n| --- | --- | ---: | ---: | ---: |")
    for key in after:
        print(f"| {key[0]} | {key[1]} | {before[key]:.1f} | {after[key]:.1f} | {ideal[key]:.1f} |")
    if not options.invariance:
        return
    changes = []
    for variant in VARIANTS:
        mixed, separated = mixtures_db(songs, variant), separated_db(songs, variant, options.models, directory)
        changes.append({key: f"{separated[key] - after[key]:+.2f} ({mixed[key] - before[key]:+.2f})" for key in after})
    print("\nWhat changes (and how much of that the mixture itself does, taken for the stem):\n")
    print(f"| model | stem | {' | '.join(variant.name for variant in VARIANTS)} |")
    print(f"| --- | --- | {' | '.join('---:' for _ in VARIANTS)} |")
    for key in after:
        print(f"| {key[0]} | {key[1]} | {' | '.join(figures[key] for figures in changes)} |")


def render_clips(directory: Path) -> list[np.ndarray]:
    """Render the clips that are not there yet; return the stems of each, int16 (stems, samples, 2)."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{number:02d}.npy" for number in range(clips.CLIPS)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if missing:
        with get_context("spawn").Pool() as pool:
            for number, seed in pool.imap_unordered(partial(_render_clip, directory), missing):
                logger.info("clip %d rendered from seed %d, sung by %s", number, seed, clips.voice(number))
    return [np.load(path, mmap_mode="r") for path in paths]


def mixtures_db(songs: list[np.ndarray], variant: Variant = AS_IT_IS) -> Figures:
    """Take the mixture itself for every stem."""
    ratios: dict[Key, list[float]] = defaultdict(list)
    for song in songs:
        mixture = variant.reference(song.sum(axis=0))
        for model in MODELS:
            for stem, truth in _truths(song, model).items():
                ratios[model, stem] += distortions_db(variant.reference(truth), mixture)
    return _medians(ratios)


def ideals_db(songs: list[np.ndarray]) -> Figures:
    """Take what the ratio mask of the true magnitudes lets through."""
    ratios: dict[Key, list[float]] = defaultdict(list)
    for song in songs:
        for model in MODELS:
            truths = _truths(song, model)
            for (stem, truth), estimate in zip(truths.items(), ideal_stems(list(truths.values())), strict=True):
                ratios[model, stem] += distortions_db(truth, estimate)
    return _medians(ratios)


def separated_db(songs: list[np.ndarray], variant: Variant, models: Path | None, directory: Path) -> Figures:
    """Take what `ezstems separate` makes of a variant of the clips."""
    ratios: dict[Key, list[float]] = defaultdict(list)
    with TemporaryDirectory(dir=directory) as folder:
        files = [Path(folder) / f"{number:02d}.wav" for number in range(len(songs))]
        for song, file in zip(songs, files, strict=True):
            variant.write(song.sum(axis=0), file)
        for model, instruments in MODELS.items():
            target = Path(folder) / model
            separate(files, len(instruments), models, target, directory / "instance")
            for song, file in zip(songs, files, strict=True):
                for stem, truth in _truths(song, model).items():
                    estimate = read_wav(target / file.stem / f"{stem}.wav")
                    ratios[model, stem] += distortions_db(variant.reference(truth), estimate)
    return _medians(ratios)


def _truths(song: np.ndarray, model: str) -> dict[str, np.ndarray]:
    """Return the true stems of a model, each (samples, 2)."""
    return {stem: song[STEM_INDICES[net]].sum(axis=0) for stem, net in MODELS[model].items()}


def _medians(ratios: dict[Key, list[float]]) -> Figures:
    return {key: float(np.median(values)) for key, values in ratios.items()}


def _render_clip(directory: Path, number: int) -> tuple[int, int]:
    """Render one clip into its file; return its number and seed."""
    for seed in clips.seeds(number):
        voices, font = (clips.voice(number),), clips.SOUND_FONT
        stems = render_song(seed, sound_font=font, voices=voices, seconds=clips.CLIP_SECONDS)
        if clips.is_full(stems):
            break
    mixed = clips.mix(stems, STEMS.index("vocals"), np.random.default_rng([seed, 1]))
    path = directory / f"{number:02d}.npy"
    save(path, mixed)
    AS_IT_IS.write(mixed.sum(axis=0), path.with_suffix(".wav"))
    return number, seed


if __name__ == "__main__":
    main()
