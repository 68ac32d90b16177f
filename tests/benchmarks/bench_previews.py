"""Measure what previews cost: time to make them, bytes against the stems', and what they add to the time to a ZIP.

    python -m tests.benchmarks.bench_previews [SECONDS]
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ezstems.audio import preview
from ezstems.audio.encode import Writer
from ezstems.audio.mixing import Source
from ezstems.audio.outputs import FORMATS
from ezstems.audio.preview import Preview
from tests.browser.visitors import Visitor
from tests.support.audio_files import RATE_HZ, song
from tests.support.servers import REAL, Server

SECONDS = 60.0
OUTPUTS = ("wav", "mp3", "flac")
# Songs in a row: the previews of one are made beside the separation of the next.
ROUNDS, SONGS = 4, 3


def main() -> None:
    """Print a line for each format, then what a queue's last ZIP takes with previews and without."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    audio = song(round(seconds * RATE_HZ))
    for output in OUTPUTS:
        print(cost_of(output, audio))
    print(delay_of(audio))


def cost_of(output: str, audio: np.ndarray) -> str:
    """Make the preview of a stem of a format."""
    seconds = len(audio) / RATE_HZ
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / FORMATS[output].filename("vocals")
        write(stem, output, audio)
        began = time.perf_counter()
        opened = preview.stem_arguments(Source.whole(stem), output)
        size_bytes = sum(len(chunk) for chunk in Preview(opened, len(audio), lambda: False))
        took = time.perf_counter() - began
        ratio, rate = size_bytes / stem.stat().st_size, 8 * size_bytes / seconds / 1000
    return f"{output}: {seconds / took:.0f} times real time a stem, {rate:.0f} kbit/s, {ratio:.3f} of the stem"


def delay_of(audio: np.ndarray) -> str:
    """Separate songs on a server that makes previews and on one that doesn't, in turn."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        path, took = Path(folder) / "song.wav", {"off": [0.0] * ROUNDS, "on": [0.0] * ROUNDS}
        write(path, "wav", audio)
        visitors = {
            mode: Visitor(servers.enter_context(Server(Path(folder) / mode, REAL, previews=mode)), "bench@example.com")
            for mode in took
        }
        for visitor in visitors.values():
            visitor.wait(visitor.upload("warm.wav"))
        for turn in range(ROUNDS):
            for mode, visitor in visitors.items():
                began = time.perf_counter()
                songs = [visitor.upload(path.name, path.read_bytes(), stems=4) for _ in range(SONGS)]
                visitor.wait(songs[-1])
                took[mode][turn] = time.perf_counter() - began
                if mode == "on":  # nothing of it is left for the other's turn
                    visitor.server.logged(*(f"job {job_id}: previews of" for job_id in songs))
    best = {mode: min(seconds) for mode, seconds in took.items()}
    told = ", ".join(f"{mode} {seconds:.2f} s" for mode, seconds in best.items())
    return f"{SONGS} songs to their last ZIP, best of {ROUNDS}: {told}: {best['on'] / best['off'] - 1:+.1%}"


def write(path: Path, output: str, audio: np.ndarray) -> None:
    """Write a stem."""
    with Writer(path, output) as writer:
        writer.write(audio)
        writer.finish()


if __name__ == "__main__":
    main()
