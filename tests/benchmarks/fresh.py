"""One separation by the engine alone, in a fresh process: `bench_separate.py --one ...`."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ezstems.audio.separate import Separator
from tests.benchmarks.machine import cpu_seconds, memory_mb
from tests.benchmarks.song import make_song

BENCH = Path(__file__).with_name("bench_separate.py")


@dataclass(frozen=True)
class Measured:
    """Hold what a process says of its last run; `cpu_seconds` has its children's in it."""

    load_seconds: float
    wall_seconds: float
    cpu_seconds: float
    peak_mb: float


def measure(minutes: float, stems: int, models: Path, folder: Path, runs: int) -> Measured:
    """Separate a song into WAV in a fresh process so many times, and return what the last time took."""
    arguments = (str(minutes), str(stems), "wav", "11kHz", str(models), str(folder), str(runs))
    command = [sys.executable, str(BENCH), "--one", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(*map(float, done.stdout.split()[-4:]))


def one(minutes: str, stems: str, output: str, cutoff: str, models: str, folder: str, runs: str = "1") -> None:
    """Be that process: print seconds to load, wall seconds, CPU seconds and peak MB."""
    source = make_song(float(minutes) * 60, Path(folder))
    separator = Separator(Path(models), "official")
    started = monotonic()
    separator.warm(int(stems))
    load_seconds = monotonic() - started
    for _ in range(int(runs)):
        with tempfile.TemporaryDirectory(dir=folder) as directory:
            started, before = monotonic(), cpu_seconds()
            separator(source, Path(directory), stems=int(stems), output=output, cutoff=cutoff)
            wall_seconds, used_seconds = monotonic() - started, cpu_seconds() - before
    print(f"{load_seconds:.2f} {wall_seconds:.3f} {used_seconds:.3f} {memory_mb('VmHWM'):.0f}")

