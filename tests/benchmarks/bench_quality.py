"""Measure how near the stems of every model come to the true ones, on songs whose stems are known.

    python tests/benchmarks/bench_quality.py --songs FOLDER [--models DIRECTORY] [--cutoff full]

SDR as `ezstems.builtin.recipe.figures.sdr` defines it: the median over all seconds of all songs in which the stem
sounds. Deezer's 2 stems are fetched once; with `--models` the official weights of that folder are measured. Without
`--songs` nothing is.
"""

import argparse
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ezstems.audio.separate import CUTOFFS, STEMS, separate_blocks
from ezstems.builtin.recipe.figures.sdr import distortions_db
from ezstems.errors import FetchFailed
from ezstems.network.choice import open_engine
from ezstems.network.cpu import has_bfloat16
from ezstems.network.engine import Engine
from ezstems.weights import folders
from ezstems.weights.folders import Weights
from tests.benchmarks import machine
from tests.benchmarks.table import head, line, tell
from tests.benchmarks.true_stems import Song, songs
from tests.support import real_weights
from tests.support.music import sdr_db

PRECISIONS = ("float32", "bfloat16") if has_bfloat16() else ("float32",)
Stems = dict[str, np.ndarray]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=Path, help="folder of songs, each a folder of its true stems")
    parser.add_argument("--models", type=Path, help="folder of official weights; default: Deezer's 2 stems")
    parser.add_argument("--cutoff", choices=CUTOFFS, default=CUTOFFS[0])
    chosen = parser.parse_args()
    if chosen.songs is None:
        return tell("bench_quality measures nothing without --songs FOLDER")
    try:
        models = chosen.models or real_weights.folder()
    except FetchFailed as error:
        return tell(f"Deezer's weights can't be had, nor measured: {error}")
    found = songs(chosen.songs)
    seconds = sum(len(song.mixture) for song in found) / 44_100
    print(f"{machine.describe()} {len(found)} songs, {seconds:.0f} s in all; cutoff {chosen.cutoff}, float32.\n")
    head("model", "stem", "mixture", "separated", "SNR of bfloat16")
    for stems in STEMS:
        for setting in ("builtin", "auto"):
            _measure(folders.find(setting, stems, models), found, chosen.cutoff)
    return None


def _measure(model: Weights, found: list[Song], cutoff: str) -> None:
    before, after, rounded = (defaultdict[str, list[float]](list) for _ in range(3))
    band = "11kHz" if cutoff == "full" else cutoff
    engines = [open_engine("openvino", precision, model, band) for precision in PRECISIONS]
    for song in found:
        exact, *others = (_separate(engine, model.stems, song.mixture, cutoff == "full") for engine in engines)
        for stem, truth in song.truths(model.stems).items():
            before[stem] += distortions_db(truth, song.mixture)
            after[stem] += distortions_db(truth, exact[stem])
        for quick in others:
            for stem, audio in quick.items():
                rounded[stem].append(sdr_db(exact[stem], audio))
    for stem in STEMS[model.stems]:
        scores = [f"{np.median(one[stem]):.1f}" if one[stem] else "-" for one in (before, after)]
        worst = f">= {min(rounded[stem]):.1f} dB" if rounded[stem] else "-"
        line(model.label, stem, *scores, worst)


def _separate(engine: Engine, stems: int, mixture: np.ndarray, average: bool) -> Stems:
    blocks = list(separate_blocks([mixture], engine, STEMS[stems], average=average))
    return {stem: np.concatenate([block[stem] for block in blocks]) for stem in STEMS[stems]}


if __name__ == "__main__":
    main()
