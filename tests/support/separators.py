"""Separators that take no time and no TensorFlow, for the tests of queue and web."""

import os
import shutil
import signal
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ezstems.audio.decode import decode
from ezstems.audio.length import refuse_longer
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

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes into another process; events don't."""
        return {name: value for name, value in vars(self).items() if not isinstance(value, threading.Event)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.gate, self.started = threading.Event(), threading.Event()
        self.gate.set()
        vars(self).update(state)

    def hold(self) -> None:
        """Let no separation end until `release`."""
        self.gate.clear()

    def release(self) -> None:
        """Let held separations end."""
        self.gate.set()

    def label(self) -> str:
        return LABEL

    def warm(self) -> None:
        pass

    def drop_idle_networks(self) -> None:
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
        progress(42.0)
        self.started.set()  # its beginning has been told of by now
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


class Gate:
    """Be open while the instance folder holds no file `hold`."""

    def is_set(self) -> bool:
        """Tell whether separations may end."""
        return not (Path(os.environ["EZSTEMS_INSTANCE"]) / "hold").exists()


class DeadlySeparator(FastSeparator):
    """Separate as the environment says, in whatever process: at once, when the gate opens, or die, or stand still."""

    def __init__(self) -> None:
        super().__init__(float(os.environ.get("FAST_SECONDS", "0")))
        self.gate = Gate()  # type: ignore[assignment]

    def __call__(self, source: Path, directory: Path, *, stems: int, **options: Any) -> Separation:
        if str(stems) == os.environ.get("FAST_KILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        if str(stems) == os.environ.get("FAST_DEAF"):
            (Path(os.environ["EZSTEMS_INSTANCE"]) / "deaf").touch()
            time.sleep(float(os.environ.get("FAST_DEAF_SECONDS", "60")))
        return super().__call__(source, directory, stems=stems, **options)


class DecodingSeparator(FastSeparator):
    """Decode the whole song, as the real one does, then separate at once."""

    def __call__(self, source: Path, directory: Path, **options: Any) -> Separation:
        longest_seconds = float(os.environ["EZSTEMS_MAX_DURATION_SECONDS"])
        refuse_longer(source, longest_seconds)
        with decode(source, block_samples=100_000, longest_seconds=longest_seconds) as decoding:
            for _ in decoding:
                pass
        return super().__call__(source, directory, **options)
