"""The corpus: one file a song, holding its five stems as int16 (stems, samples, 2) at 44.1 kHz."""

from collections.abc import Iterable
from functools import partial
from logging import getLogger
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ezstems.builtin.recipe.songs import effects, parts, singing, sources
from ezstems.builtin.recipe.songs.song import compose

logger = getLogger(__name__)

STEMS = ("vocals", "drums", "bass", "piano", "other")
SONG_SECONDS = 45.0
FULL_SCALE = 32767 * 0.9  # room for peaks above 1.0, which saturate


def render_corpus(directory: Path, seeds: Iterable[int], *, processes: int = 1) -> None:
    """Render the songs that are not there yet, so that an interrupted run goes on where it stopped."""
    directory.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not song_path(directory, seed).exists()]
    if not missing:
        return
    with get_context("spawn").Pool(min(processes, len(missing))) as pool:
        for done, seed in enumerate(pool.imap_unordered(partial(_render_file, directory), missing), start=1):
            logger.info("song %d rendered (%d of %d)", seed, done, len(missing))


def song_path(directory: Path, seed: int) -> Path:
    """Return where the song of a seed lies."""
    return directory / f"{seed:06d}.npy"


def open_corpus(directory: Path) -> list[np.ndarray]:
    """Map every rendered song into memory, in the order of their seeds."""
    return [np.load(path, mmap_mode="r") for path in sorted(directory.glob("[0-9]*.npy"))]


def render_song(seed: int, sound_font: Path | None, voices: tuple[str, ...], seconds: float) -> np.ndarray:
    """Compose, play and sing the song of a seed; return int16 (stems, samples, 2), every stem at the same level.

    With a sound font given, it alone plays every instrument; without, each part has a source drawn for it.
    """
    rng = np.random.default_rng(seed)
    song = compose(rng, seconds)
    stems = {"vocals": singing.vocals(song, rng, voices)}
    for name, play in (("drums", parts.drums), ("bass", parts.bass), ("piano", parts.piano), ("other", parts.other)):
        audio = effects.colour(sources.perform(play(song, rng), song, rng, sound_font), rng)
        if name in ("bass", "other") and rng.random() < 0.3:
            audio = effects.saturate(audio, rng.uniform(2, 8))
        if name != "bass" and rng.random() < 0.3:
            audio = effects.reverberate(audio, rng)
        stems[name] = audio
    audio = np.stack([effects.normalise(stems[name]) for name in STEMS])
    return np.clip(audio * FULL_SCALE, -32767, 32767).astype(np.int16)


def save(path: Path, stems: np.ndarray) -> None:
    """Write stems into a file, never leaving half of one under its name."""
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        np.save(stream, stems)
    part.replace(path)


def _render_file(directory: Path, seed: int) -> int:
    """Render one song into its file."""
    save(song_path(directory, seed), render_song(seed, None, singing.TRAINING_VOICES, SONG_SECONDS))
    return seed
