"""Separators that take no time and no TensorFlow, for the tests of queue and web."""

import shutil
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ezstems.audio.outputs import FORMATS
from ezstems.audio.peaks import Meter, Peaks
from ezstems.audio.separate import STEMS, Separation
from ezstems.errors import Interrupted

LABEL = "fast test model"
SAMPLES = 441


class FastSeparator:
    """Write a short file of noise a stem; `hold` and `error` let a test decide when and how a separation ends."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.error: Exception | None = None
        self.clipped: dict[str, int] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.sources: list[str] = []

    def hold(self) -> None:
        """Let no separation end until `release`."""
        self.gate.clear()

    def release(self) -> None:
        """Let held separations end."""
        self.gate.set()

    def label(self) -> str:
        return LABEL

    def prepare(self) -> None:
        pass

    def rest(self) -> None:
        pass

    def __call__(
        self,
        source: Path,
        directory: Path,
        *,
        stems: int,
        cutoff: str,
        output: str,
        progress: Callable[[float], None],
        stopping: Callable[[], bool],
    ) -> Separation:
        assert source.is_file(), source
        self.sources.append(source.name)
        self.started.set()
        progress(42.0)
        until = time.monotonic() + self.seconds
        while not self.gate.is_set() or time.monotonic() < until:
            if stopping():
                raise Interrupted("stopped")
            time.sleep(0.005)
            progress(42.0)
        if self.error is not None:
            raise self.error
        files, meters = [], {name: Meter() for name in STEMS[stems]}
        noise = np.random.default_rng(0).integers(-32768, 32768, (stems, SAMPLES, 2)).astype("<i2")
        for name, pcm in zip(STEMS[stems], noise, strict=True):
            file = directory / FORMATS[output].filename(name)
            with wave.open(str(file), "wb") as out:
                out.setnchannels(2)
                out.setsampwidth(2)
                out.setframerate(44_100)
                out.writeframes(pcm.tobytes())
            files.append(file)
            meters[name].add(pcm)
        shutil.copy(source, directory / "scratch")  # what isn't a stem must not reach the ZIP
        return Separation(tuple(files), SAMPLES, LABEL, Peaks.of(meters), self.clipped)
