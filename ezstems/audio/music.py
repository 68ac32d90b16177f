"""What a song is like as music, tempo, beats and key, heard while it is separated."""

from dataclasses import dataclass
from logging import getLogger
from typing import Any

import numpy as np

from ezstems.audio.key import FINE, Key, key_of, pitches, spectra
from ezstems.audio.onsets import Onsets, band_levels
from ezstems.audio.tempo import Tempo, tempo_of

logger = getLogger(__name__)
_TILES_AT_ONCE = 8  # calling NumPy for each takes most of the time; a minute and a half, 0.6 MB


@dataclass(frozen=True)
class Heard:
    """Hold what one tile adds: its frames' levels by band, and the spectra of some of them."""

    levels: np.ndarray
    spectra: np.ndarray


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
    return Heard(band_levels(magnitudes[:frames]), spectra(magnitudes[:frames]))


class Listener:
    """Listen to a song's tiles, in order."""

    def __init__(self) -> None:
        self._onsets = Onsets()
        self._pitches = np.zeros(12 * FINE)
        self._waiting: list[Heard] = []

    def add(self, heard: Heard) -> None:
        """Add the next tile."""
        self._waiting.append(heard)
        if len(self._waiting) == _TILES_AT_ONCE:
            self._digest()

    def _digest(self) -> None:
        if self._waiting:
            self._onsets.add(np.concatenate([heard.levels for heard in self._waiting]))
            self._pitches += pitches(np.concatenate([heard.spectra for heard in self._waiting]))
            self._waiting.clear()

    def music(self) -> Music:
        """Estimate tempo and key of what was heard."""
        try:
            self._digest()
            return Music(tempo_of(self._onsets.envelope()), key_of(self._pitches))
        except Exception:  # a guess is worth no song
            logger.exception("tempo and key could not be estimated")
            return UNHEARD
