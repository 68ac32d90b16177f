"""Measure separations against their targets and, where SPLEETER_VENV names a venv of it, against Spleeter itself.

    python tests/benchmarks/bench_separate.py [--quick] [--rounds 3] [--long-minutes 60] [--models DIRECTORY]

A three-minute MP3, networks of the official size with random weights (speed and memory don't depend on the values).
Times are medians of rounds in which we and Spleeter take turns, after one that doesn't count.
"""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.benchmarks import floor, fresh, machine, networks, parts
from tests.benchmarks.baseline import HOW, VARIABLE, Baseline
from tests.benchmarks.rows import SONG_MINUTES, Rows


def main() -> None:
    """Print the tables."""
    if sys.argv[1:2] == ["--one"]:
        return fresh.one(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, and 10 minutes as the long song")
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--long-minutes", type=float, help="default: 60")
    parser.add_argument("--models", type=Path, help="folder of the networks, which are made where they are missing")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    long_minutes = chosen.long_minutes or (10 if chosen.quick else 60)
    venv = os.environ.get(VARIABLE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        models: Path = (chosen.models or folder / "models").resolve()
        networks.require(models)
        spleeter = stack.enter_context(Baseline(Path(venv).absolute(), models, folder)) if venv else None
        print(machine.describe(), f"Against {spleeter.versions()}." if spleeter else HOW, f"Rounds: {rounds}.\n")
        rows = Rows(models, folder, spleeter, rounds, long_minutes)
        rows.print()
        parts.print_table(rows.song, models, rows.cpu_seconds)
        floor.measure(rows.song, folder).print_table(SONG_MINUTES * 60, rows.http_seconds, rows.wall_seconds)
    return None


if __name__ == "__main__":
    main()
