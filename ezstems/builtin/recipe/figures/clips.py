"""The clips of the validation: what they are made from, all of it held back from training, and how they are mixed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from ezstems.builtin.recipe.figures.sdr import sounding
from ezstems.builtin.recipe.songs.effects import SAMPLE_RATE_HZ
from ezstems.builtin.recipe.songs.festival import FESTIVAL_VOICES

SOUND_FONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
ESPEAK_VOICES = ("en-029", "en-us-nyc", "cy", "is", "lv")
CLIPS = 20
CLIP_SECONDS = 24.0
FIRST_SEED = 900_001
SOUNDING_SHARE = 0.5  # of a clip's seconds, that every stem has at least

# As on records: the singer in front, the rest at levels that differ from one record to the next.
VOCALS_DB, SPREAD_DB = 3.0, 2.0
PEAK = 0.7


@dataclass(frozen=True)
class Variant:
    """Describe how else a listener might bring a clip."""

    name: str
    gain_db: float = 0.0
    mono: bool = False
    rate_hz: int = SAMPLE_RATE_HZ

    def reference(self, stem: np.ndarray) -> np.ndarray:
        """Return what a stem becomes, (samples, 1 or 2) at 44.1 kHz: what is separated always has that rate."""
        channels = stem.mean(axis=1, keepdims=True) if self.mono else stem
        return channels * 10 ** (self.gain_db / 20)

    def write(self, mixture: np.ndarray, path: Path) -> None:
        """Write the mixture, int16 (samples, 2), as such a listener's WAV file of 16 bits."""
        audio = self.reference(mixture)
        if self.rate_hz != SAMPLE_RATE_HZ:
            audio = resample_poly(audio, self.rate_hz, SAMPLE_RATE_HZ)
        wavfile.write(path, self.rate_hz, np.rint(audio).astype(np.int16))


AS_IT_IS = Variant("as it is")
VARIANTS = (
    Variant("18 dB quieter", gain_db=-18.0),
    Variant("mono", mono=True),
    Variant("48 kHz", rate_hz=48_000),
)


def voice(number: int) -> str:
    """Return who sings a clip: all voices take turns, those of Festival and of espeak-ng by turns."""
    voices = (FESTIVAL_VOICES, ESPEAK_VOICES)[number % 2]
    return voices[number // 2 % len(voices)]


def seeds(number: int) -> Iterator[int]:
    """Yield the seeds that a clip may come from, of which it takes the first whose stems are all there."""
    return count(FIRST_SEED + number, CLIPS)


def is_full(stems: np.ndarray) -> bool:
    """Tell whether every one of the stems (stems, samples, 2) sounds in at least half of the seconds."""
    return all(sounding(stem).mean() >= SOUNDING_SHARE for stem in stems)


def mix(stems: np.ndarray, vocals: int, rng: np.random.Generator) -> np.ndarray:
    """Bring stems of one level, int16 (stems, samples, 2), to those of a record; `vocals` is the singer's index.

    Rounded before they are summed, they add up to the mixture bit by bit.
    """
    levels_db = rng.normal(0, SPREAD_DB, len(stems))
    levels_db[vocals] += VOCALS_DB
    mixed = stems * (10 ** (levels_db / 20))[:, None, None]
    return np.rint(mixed * (PEAK * 32767 / np.abs(mixed.sum(axis=0)).max())).astype(np.int16)
