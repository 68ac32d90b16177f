"""Measure what bfloat16 changes: SNR against float32, and SDR against the truth, on a little song of known stems.

    python tests/benchmarks/bench_precision.py [--models DIRECTORY]

With the bundled networks, and with ones of the official size and random weights.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ezstems.audio.separate import STEMS
from tests.benchmarks import machine, networks
from tests.benchmarks.precision import Compared, compare
from tests.support.music import backing, voice


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder of the networks, which are made where they are missing")
    chosen = parser.parse_args()
    truth = {"vocals": voice(), "accompaniment": backing()}
    with tempfile.TemporaryDirectory() as folder:
        models: Path = (chosen.models or Path(folder) / "models").resolve()
        networks.require(models)
        print(f"{machine.describe()}\n\n| network | SNR of bfloat16 against float32 | SDR, float32 and bfloat16 |")
        print("| --- | --- | --- |")
        for model in ("builtin", "official"):
            for stems in STEMS:
                compared = compare(models, model, stems, truth)
                size = "bundled" if model == "builtin" else "official size, random"
                snr = ", ".join(f"{one.stem} {one.snr_db:.1f} dB" for one in compared)
                print(f"| {size}, {stems} stems | {snr} | {', '.join(_sdr(one) for one in compared if one.sdr_db)} |")


def _sdr(one: Compared) -> str:
    return f"{one.stem} {one.sdr_db['float32']:.3f} and {one.sdr_db['bfloat16']:.3f} dB"


if __name__ == "__main__":
    main()
