"""A separator whose stems are known to the last sample, and whose pace a test decides.

While the instance folder holds a file `hold`, separations stand still at the percentage in its file `percent`, but for
jobs that a file `let-<job id>` lets go on; a file `failure` makes them fail with its text. Of two stems, the second is
the first turned upside down: played together they are silence. Of more, each is a tone of its own.
"""

import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ezstems.audio.encode import Writer
from ezstems.audio.outputs import FORMATS
from ezstems.audio.peaks import Peaks
from ezstems.audio.separate import STEMS, Separation
from ezstems.errors import Interrupted, UnreadableAudio
from tests.support.separators import LABEL, FastSeparator

RATE_HZ = 44_100
PERIOD_SAMPLES = 48_510  # 1.1 s: chunks of whole seconds that changed places would not sound the same
CYCLES = {"vocals": 440, "drums": 550, "bass": 330, "piano": 770, "other": 990}  # in a period
AMPLITUDE = 4000  # of 32768, on the left; half of it on the right
BLOCK_PERIODS = 10


def period(name: str, stems: int) -> np.ndarray:
    """Make int16 (PERIOD_SAMPLES, 2): what a stem repeats."""
    if stems == 2:
        noise = np.random.default_rng(2).integers(-9000, 9000, (PERIOD_SAMPLES, 2), np.int16)
        return noise if name == "vocals" else -noise
    tone = AMPLITUDE * np.sin(2 * np.pi * CYCLES[name] * np.arange(PERIOD_SAMPLES) / PERIOD_SAMPLES)
    return np.rint(np.stack([tone, tone / 2], axis=1)).astype(np.int16)


def stem(name: str, stems: int, samples: int) -> np.ndarray:
    """Make int16 (samples, 2): a whole stem."""
    return np.resize(period(name, stems), (samples, 2))


class KnownStems(FastSeparator):
    """Write known stems, as long as the WAV file that was uploaded."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        super().__init__()
        self.folder = folder

    def _text(self, name: str) -> str | None:
        try:
            return (self.folder() / name).read_text()
        except FileNotFoundError:
            return None

    def _wait(self, job_id: str, progress: Callable[[float], None], stopping: Callable[[], bool]) -> None:
        while self._text("hold") is not None and self._text(f"let-{job_id}") is None:
            if stopping():
                raise Interrupted("stopped")
            progress(float(self._text("percent") or 0))
            time.sleep(0.01)

    def __call__(
        self,
        source: Path,
        directory: Path,
        *,
        stems: int,
        output: str,
        progress: Callable[[float], None],
        stopping: Callable[[], bool],
        **_options: Any,
    ) -> Separation:
        self._wait(source.name.rpartition("_")[0], progress, stopping)
        if failure := self._text("failure"):
            raise UnreadableAudio(failure)
        with wave.open(str(source)) as song:
            samples = round(song.getnframes() * RATE_HZ / song.getframerate())
        files, meters = [], {}
        for name in STEMS[stems]:
            block = np.tile(period(name, stems), (BLOCK_PERIODS, 1)).astype(np.float32) / 32768
            files.append(directory / FORMATS[output].filename(name))
            with Writer(files[-1], output) as writer:
                for start in range(0, samples, len(block)):
                    writer.write(block[: samples - start])
                writer.finish()
            meters[name] = writer.meter
        return Separation(tuple(files), samples, LABEL, Peaks.of(meters))
