"""Drums without a sound font: Debian's sampled kits for the drum machine Hydrogen, and drums of our own synthesis."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import soundfile
from scipy.signal import butter, sosfilt

from ezstems.builtin.recipe.songs.effects import SAMPLE_RATE_HZ
from ezstems.builtin.recipe.songs.midi import Part
from ezstems.builtin.recipe.songs.song import Song

KITS = Path("/usr/share/hydrogen/data/drumkits")
FIRST_KEY = 36  # the General MIDI key of a Hydrogen kit's first instrument
LONGEST_SECONDS = 2.5

Hit = Callable[[int, int], np.ndarray]
"""Return one stroke, (samples, 2): its General MIDI key and its velocity."""


def kits() -> list[Path]:
    """Return the folders of the sampled kits, in the order of their names."""
    return sorted(path.parent for path in KITS.glob("*/drumkit.xml"))


def play(part: Part, song: Song, hit: Hit) -> np.ndarray:
    """Play a part, stroke by stroke; return (samples, 2) float32 as long as the song."""
    audio = np.zeros((int(song.seconds * SAMPLE_RATE_HZ), 2), np.float32)
    for note in part.notes:
        start = int(note.beat * 60 / song.tempo_bpm * SAMPLE_RATE_HZ)
        stroke = hit(note.pitch, note.velocity)[: max(0, len(audio) - start)]
        audio[start : start + len(stroke)] += stroke * np.float32((note.velocity / 100) ** 1.5)
    return audio


def sampled(kit: Path) -> Hit:
    """Return the strokes of a Hydrogen kit, softer or harder samples by velocity."""
    instruments = []
    for instrument in ElementTree.parse(kit / "drumkit.xml").iter():
        if _tag(instrument) == "instrument":
            files = [kit / str(node.text) for node in instrument.iter() if _tag(node) == "filename"]
            layers = sorted(path for path in files if path.is_file())  # some kits name samples that they lack
            if layers:
                instruments.append(layers)

    def hit(key: int, velocity: int) -> np.ndarray:
        layers = instruments[max(0, key - FIRST_KEY) % len(instruments)]
        return _sample(layers[min(len(layers) - 1, velocity * len(layers) // 128)])

    return hit


def synthesised(rng: np.random.Generator) -> Hit:
    """Draw a drum machine of our own: swept sines, ringing modes and filtered noise."""
    strokes: dict[int, np.ndarray] = {}
    makers = {
        (35, 36): lambda: _swept(rng, rng.uniform(38, 70), rng.uniform(60, 400), rng.uniform(0.12, 0.6), 0.05),
        (38, 40, 37): lambda: _snare(rng),
        (39,): lambda: _noise(rng, 900, 6000, rng.uniform(0.08, 0.25)),
        (42, 44): lambda: _noise(rng, rng.uniform(5000, 9000), 18000, rng.uniform(0.02, 0.08)),
        (46,): lambda: _noise(rng, rng.uniform(5000, 8000), 18000, rng.uniform(0.15, 0.5)),
        (41, 43, 45, 47, 48, 50): lambda: _swept(rng, rng.uniform(80, 220), rng.uniform(20, 120), 0.25, 0.1),
        (49, 57): lambda: _noise(rng, rng.uniform(2000, 5000), 18000, rng.uniform(0.5, 1.2)),
    }
    for keys, make in makers.items():
        for key in keys:
            strokes[key] = make()

    def hit(key: int, velocity: int) -> np.ndarray:
        if key not in strokes:
            strokes[key] = _ringing(rng)
        return strokes[key]

    return hit


@cache
def _sample(path: Path) -> np.ndarray:
    """Read one sample as (samples, 2) float32 and no longer than a stroke lasts."""
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    audio = audio[: int(LONGEST_SECONDS * rate_hz)]
    if rate_hz != SAMPLE_RATE_HZ:
        positions = np.arange(0, len(audio) - 1, rate_hz / SAMPLE_RATE_HZ)
        audio = np.stack([np.interp(positions, np.arange(len(audio)), channel) for channel in audio.T], axis=1)
    fade = np.minimum(1, np.arange(len(audio))[::-1] / 2000)
    return (audio[:, [0, -1]] * fade[:, None]).astype(np.float32)


def _swept(rng: np.random.Generator, low_hz: float, sweep_hz: float, fade_seconds: float, click: float) -> np.ndarray:
    """Return a membrane: a sine that falls in pitch, with a click of noise."""
    times = _times(fade_seconds * 5)
    phase = 2 * np.pi * np.cumsum(low_hz + sweep_hz * np.exp(-times / rng.uniform(0.01, 0.05))) / SAMPLE_RATE_HZ
    body = np.sin(phase) * np.exp(-times / fade_seconds)
    return _wide(body + click * rng.normal(size=len(times)) * np.exp(-times / 0.004))


def _snare(rng: np.random.Generator) -> np.ndarray:
    """Return a snare: two modes of the skin and the wires' noise."""
    seconds = rng.uniform(0.08, 0.25)
    wires = _noise(rng, rng.uniform(300, 1500), rng.uniform(7000, 16000), seconds)
    times = np.arange(len(wires)) / SAMPLE_RATE_HZ
    skin_hz = rng.uniform(140, 260)
    skin = np.sin(2 * np.pi * skin_hz * times) + 0.6 * np.sin(2 * np.pi * skin_hz * 1.6 * times)
    return wires + _wide(rng.uniform(0.1, 0.8) * skin * np.exp(-times / rng.uniform(0.03, 0.12)))


def _noise(rng: np.random.Generator, low_hz: float, high_hz: float, fade_seconds: float) -> np.ndarray:
    """Return a burst of filtered noise, a little different in the two channels."""
    length = int(min(LONGEST_SECONDS, fade_seconds * 5) * SAMPLE_RATE_HZ)
    both, sides = rng.normal(size=(length, 1)), rng.normal(size=(length, 2))
    shape = butter(2, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    burst = sosfilt(shape, both + rng.uniform(0, 0.7) * sides, axis=0)
    burst *= np.exp(-np.arange(length) / (fade_seconds * SAMPLE_RATE_HZ))[:, None]
    return (burst / np.abs(burst).max()).astype(np.float32)


def _ringing(rng: np.random.Generator) -> np.ndarray:
    """Return a bell, block or ride: a few inharmonic modes."""
    fade_seconds = rng.uniform(0.03, 0.5)
    times = _times(fade_seconds * 5)
    modes_hz = rng.uniform(400, 6000, int(rng.integers(2, 9)))
    sound = sum(np.sin(2 * np.pi * mode_hz * times) * np.exp(-times / fade_seconds) for mode_hz in modes_hz)
    return _wide(np.asarray(sound) / len(modes_hz) * 0.6)


def _wide(mono: np.ndarray) -> np.ndarray:
    """Put a mono sound on both channels."""
    return np.repeat(mono[:, None], 2, axis=1).astype(np.float32)


def _times(seconds: float) -> np.ndarray:
    """Return the times of the samples of a duration, in seconds."""
    return np.arange(int(min(LONGEST_SECONDS, seconds) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ


def _tag(node: ElementTree.Element) -> str:
    """Return an element's name without its namespace."""
    return node.tag.rpartition("}")[2]
