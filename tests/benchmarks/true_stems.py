"""Songs whose true stems are known: folders of one file a stem."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ezstems.audio.separate import STEMS
from tests.support.audio_files import RATE_HZ, ffmpeg

NAMES = frozenset(STEMS[5])


@dataclass(frozen=True)
class Song:
    """Hold the stems of a song that sound in it, each float32 (samples, 2)."""

    name: str
    stems: dict[str, np.ndarray]

    @property
    def mixture(self) -> np.ndarray:
        """Return the sum of all stems."""
        return np.sum(list(self.stems.values()), axis=0)

    def truths(self, stems: int) -> dict[str, np.ndarray]:
        """Return what a separation into so many stems should give; what a song hasn't is left out."""
        truths: dict[str, np.ndarray] = {}
        for name, audio in self.stems.items():
            wanted = name if name in STEMS[stems] else "accompaniment" if stems == 2 else "other"
            truths[wanted] = truths[wanted] + audio if wanted in truths else audio
        return truths


def songs(folder: Path) -> list[Song]:
    """Read every song in a folder, `SONG/vocals.EXT`, `drums`, `bass`, `piano` and `other`, of any format."""
    found = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = [file for file in sorted(place.iterdir()) if file.stem in NAMES]
        if files:
            stems = {file.stem: _read(file) for file in files}
            samples = min(len(audio) for audio in stems.values())
            found.append(Song(place.name, {name: audio[:samples] for name, audio in stems.items()}))
    return found


def _read(file: Path) -> np.ndarray:
    with TemporaryDirectory() as place:
        raw = Path(place) / "raw"
        ffmpeg("-i", file, "-ac", "2", "-ar", str(RATE_HZ), "-f", "f32le", raw)
        return np.fromfile(raw, "<f4").reshape(-1, 2)
