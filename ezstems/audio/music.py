"""What a song is like as music, tempo, beats and key, heard while it is separated."""

from dataclasses import dataclass
from logging import getLogger
from typing import Any

import numpy as np

from ezstems.audio.key import FINE, Key, key_of, pitches
from ezstems.audio.onsets import Onsets, band_levels
from ezstems.audio.tempo import Tempo, tempo_of

logger = getLogger(__name__)


@dataclass(frozen=True)
class Heard:
    """Hold what one tile adds: its frames' levels by band, and its pitches."""

    levels: np.ndarray
    pitches: np.ndarray


@dataclass(frozen=True)
class Music:
    """Say what was found, each None where it wasn't."""

    tempo: Tempo | None = None
    key: Key | None = None

    def described(self) -> dict[str, Any]:
        """Return tempo and key as the website's pages read them."""
        tempo, key = self.tempo, self.key
        beats = tempo and [round(second, 3) for second in tempo.beats]
        return {
            "tempo": tempo and {"bpm": round(tempo.bpm, 2), "beats": beats, "confidence": round(tempo.confidence, 2)},
            "key": key and {"name": key.name, "confidence": round(key.confidence, 2)},
        }


UNHEARD = Music()


def hear(magnitudes: np.ndarray, frames: int) -> Heard:
    """Hear the first frames of a tile; takes float32 magnitudes (512, bins, 2), and keeps none of them."""
    return Heard(band_levels(magnitudes[:frames]), pitches(magnitudes[:frames]))


class Listener:
    """Listen to a song's tiles, in order."""

    def __init__(self) -> None:
        self._onsets = Onsets()
        self._pitches = np.zeros(12 * FINE)

    def add(self, heard: Heard) -> None:
        """Add the next tile."""
        self._onsets.add(heard.levels)
        self._pitches += heard.pitches

    def music(self) -> Music:
        """Estimate tempo and key of what was heard."""
        try:
            return Music(tempo_of(self._onsets.envelope()), key_of(self._pitches))
        except Exception:  # a guess is worth no song
            logger.exception("tempo and key could not be estimated")
            return UNHEARD
