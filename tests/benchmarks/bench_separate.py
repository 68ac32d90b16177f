"""Measure separations: seconds and peak memory by length, stems and output, each in a process of its own.

    python tests/benchmarks/bench_separate.py [--minutes 3 30] [--stems 2 4] [--outputs wav] [--cutoff 11kHz]
        [--models DIRECTORY]

Without `--models` a random checkpoint of the official architecture is made for each number of stems: speed and memory
don't depend on the values.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, process_time

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def one(minutes: float, stems: int, output: str, cutoff: str, models: Path, folder: Path) -> None:
    """Separate a song of so many minutes and print seconds to load, wall seconds, CPU seconds and peak MB."""
    from ezstems.audio.separate import Separator

    source = make_song(minutes, folder)
    separator = Separator(models, "official")
    started = monotonic()
    separator.warm(stems)
    loaded, before = monotonic(), process_time()
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        separator(source, Path(directory), stems=stems, output=output, cutoff=cutoff)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{loaded - started:.1f} {monotonic() - loaded:.1f} {process_time() - before:.1f} {peak_mb:.0f}")


def make_song(minutes: float, folder: Path) -> Path:
    """Make an MP3 of noises and tones; by ffmpeg, so that this process's memory stays out of it."""
    from ezstems.audio.ffmpeg import Child, command

    path = folder / f"{minutes:g}-minutes.mp3"
    if not path.exists():
        sound = "anoisesrc=a=0.1:c=pink:r=44100[n];sine=f=330:r=44100,tremolo=f=2[t];[n][t]amerge=inputs=2"
        child = Child(command("-y", "-f", "lavfi", "-i", sound, "-t", str(minutes * 60), "-b:a", "192k", str(path)))
        assert child.wait() == 0, child.stderr()
    return path


def main() -> None:
    """Print a table, one process a row."""
    if sys.argv[1:2] == ["--one"]:
        length, number, *rest = sys.argv[2:]
        return one(float(length), int(number), rest[0], rest[1], Path(rest[2]), Path(rest[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", nargs="+", type=float, default=[3, 30])
    parser.add_argument("--stems", nargs="+", type=int, choices=(2, 4, 5), default=[2, 4])
    parser.add_argument("--outputs", nargs="+", choices=("wav", "mp3", "flac", "m4a", "ogg"), default=["wav"])
    parser.add_argument("--cutoff", choices=("11kHz", "16kHz", "full"), default="11kHz")
    parser.add_argument("--models", type=Path)
    chosen = parser.parse_args()
    print(f"{'minutes':>8} {'stems':>6} {'output':>7} {'load s':>7} {'wall s':>7} {'CPU s':>7} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for stems in chosen.stems:
            models: Path = chosen.models or Path(folder)
            if chosen.models is None:
                code = "from pathlib import Path; from tests.audio.checkpoints import make;"
                code += f"make(Path('{folder}'), {stems})"
                subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
            for output in chosen.outputs:
                for minutes in chosen.minutes:
                    row = [__file__, "--one", str(minutes), str(stems), output, chosen.cutoff, str(models), folder]
                    done = subprocess.run([sys.executable, *row], stdout=subprocess.PIPE, text=True, check=True)
                    load, wall, cpu, peak = done.stdout.split()[-4:]
                    print(f"{minutes:>8g} {stems:>6} {output:>7} {load:>7} {wall:>7} {cpu:>7} {peak:>8}", flush=True)
    return None


if __name__ == "__main__":
    main()
