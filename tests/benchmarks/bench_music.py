"""Measure what it costs to hear tempo, beats and key while a song is separated: of its CPU time, the bundled 2 stems.

    python tests/benchmarks/bench_music.py [ROUNDS]

Told in two ways: by the CPU time inside of it, and by the difference to separations that hear nothing, which take turns
with those that do. The second is what the first can't see (caches, memory), and is as noisy as the machine.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from ezstems.audio import separate
from ezstems.audio.music import UNHEARD, Listener
from ezstems.audio.separate import Separator
from tests.benchmarks import machine
from tests.support.audio_files import write_wav
from tests.support.made_songs import beats_of, made_song

ROUNDS = 8
SECONDS = 60.0


class Stopwatch:
    """Add up the CPU time that threads spend in what is watched."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def watch(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same, timed."""

        def timed(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self.seconds.append(time.thread_time() - began)

        return timed


def main() -> None:
    """Print both figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        song = write_wav(folder / "song.wav", made_song("rock", beats_of(110.0, SECONDS), SECONDS, 2, "major"))
        separator = Separator(folder, "builtin")

        def used() -> float:
            before = machine.cpu_seconds()
            separator(song, folder, stems=2)
            return machine.cpu_seconds() - before

        used()
        inside, hearing, deaf = [], [], []
        for number in range(2 * rounds):
            if number % 4 in (0, 3):  # each comes first as often as second
                stopwatch = Stopwatch()
                with (
                    patch.object(separate, "hear", stopwatch.watch(separate.hear)),
                    patch.object(Listener, "add", stopwatch.watch(Listener.add)),
                    patch.object(Listener, "music", stopwatch.watch(Listener.music)),
                ):
                    hearing.append(used())
                inside.append(sum(stopwatch.seconds) / hearing[-1])
            else:
                with (
                    patch.object(separate, "hear", lambda magnitudes, frames: None),
                    patch.object(Listener, "add", lambda self, heard: None),
                    patch.object(Listener, "music", lambda self: UNHEARD),
                ):
                    deaf.append(used())
    differences = np.array(hearing) / np.array(deaf) - 1
    print(machine.describe(), f"Rounds: {rounds}, a song of {SECONDS:.0f} s.\n")
    print(f"a separation: {median(hearing):.3f} CPU-seconds, deaf {median(deaf):.3f}")
    print(f"inside of hearing: {100 * median(inside):.2f} %")
    error = differences.std() / max(1, rounds - 1) ** 0.5
    print(f"difference: {100 * np.median(differences):.2f} % (give or take {100 * error:.2f})")


if __name__ == "__main__":
    main()
