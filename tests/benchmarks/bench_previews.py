"""Measure what previews cost: time to make them against the song's length and the ZIP's, and bytes against the ZIP's.

    python -m tests.benchmarks.bench_previews [SECONDS]
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ezstems.audio import preview
from ezstems.audio.encode import Writer
from ezstems.audio.outputs import FORMATS
from ezstems.audio.preview import Preview
from tests.support.audio_files import RATE_HZ, song

SECONDS = 60.0
OUTPUTS = ("wav", "mp3", "flac")


def main() -> None:
    """Print a line for each format."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    frames = round(seconds * RATE_HZ)
    audio = song(frames)
    for output in OUTPUTS:
        with tempfile.TemporaryDirectory() as folder:
            stem = Path(folder) / FORMATS[output].filename("vocals")
            with Writer(stem, output) as writer:
                writer.write(audio)
                writer.finish()
            began = time.perf_counter()
            opened = preview.stem_arguments(stem, output)
            size_bytes = sum(len(chunk) for chunk in Preview(opened, frames, lambda: False))
            took = time.perf_counter() - began
            ratio, rate = size_bytes / stem.stat().st_size, 8 * size_bytes / seconds / 1000
            print(f"{output}: {seconds / took:.0f} times real time a stem, {rate:.0f} kbit/s, {ratio:.3f} of the stem")
    assert np.isfinite(audio).all()


if __name__ == "__main__":
    main()
