"""`ezstems worker` with a separator that writes stems as long as FAST_SAMPLES says, waits, and notes its own time.

Each separation appends a line to `separations` in the instance folder: the seconds of CPU that writing took, which the
cluster didn't.
"""

import os
import sys
import time
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ezstems import create_app
from ezstems.audio.outputs import FORMATS
from ezstems.audio.peaks import Meter, Peaks
from ezstems.audio.separate import STEMS, Separation
from ezstems.errors import Interrupted
from ezstems.server import celery_worker
from tests.support import heartbeats
from tests.support.separators import LABEL, FastSeparator

RATE = 44_100
NOTES = "separations"


class WritingSeparator(FastSeparator):
    """Write noise, then wait until FAST_SECONDS are over."""

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
        began, until = time.thread_time(), time.monotonic() + float(os.environ.get("FAST_SECONDS", "0"))
        samples = int(os.environ.get("FAST_SAMPLES", "441"))
        noise = np.random.default_rng(0).integers(-9000, 9000, (RATE, 2)).astype("<i2")
        files, meters = [], {name: Meter() for name in STEMS[stems]}
        for name in STEMS[stems]:
            files.append(directory / FORMATS[output].filename(name))
            with wave.open(str(files[-1]), "wb") as out:
                out.setnchannels(2)
                out.setsampwidth(2)
                out.setframerate(RATE)
                for start in range(0, samples, RATE):
                    out.writeframes(block := noise[: samples - start])
                    meters[name].add(block)
                    progress(100 * start / samples)
        while (left := until - time.monotonic()) > 0:
            progress(0.0)
            if stopping():
                raise Interrupted("stopped")
            time.sleep(min(left, 0.1))
        with (Path(os.environ["EZSTEMS_INSTANCE"]) / NOTES).open("a") as notes:
            notes.write(f"{time.thread_time() - began}\n")
        return Separation(tuple(files), samples, LABEL, Peaks.of(meters), {})


if __name__ == "__main__":
    from tests.benchmarks import writing_worker  # by its name, by which a process of a suspect's own finds it, too

    heartbeats.shorten()
    sys.exit(celery_worker.run(partial(create_app, {"SEPARATOR": writing_worker.WritingSeparator()})))
