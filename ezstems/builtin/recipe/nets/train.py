"""Make the bundled model; everything resumes where it stopped.

    python -m ezstems.builtin.recipe.nets.train --work DIR
"""

import argparse
import logging
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.multiprocessing import spawn

from ezstems.builtin.recipe.nets.convert import write_models
from ezstems.builtin.recipe.nets.nets import COMMON, NETS, ORIGINS
from ezstems.builtin.recipe.nets.network import Ensemble, Head, ManyHeaded, Trunk, UNet
from ezstems.builtin.recipe.nets.peers import Peers
from ezstems.builtin.recipe.nets.training import Stage, train
from ezstems.builtin.recipe.songs.corpus import open_corpus, render_corpus
from ezstems.builtin.recipe.songs.mixing import Mixer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """Hold nets that part together in one process, beside frozen ones that complete their ratio masks."""

    name: str
    trained: tuple[str, ...]
    frozen: tuple[str, ...]
    pace: float  # steps, as a share of the stage's: more nets make slower steps


GROUPS = (
    Group("voice", ("vocals", "accompaniment"), (), 1.0),
    Group("band", ("drums", "bass", "piano", "other_of_four", "other_of_five"), ("vocals",), 0.4),
)
COMMON_SONGS = 120
COMMON_STAGE = Stage("common", 1200, rate=3e-3, last_rate=1e-3, direct_weight=1.0, distortion_weight=0.0)
PARTED_STAGE = Stage("parted", 7000, rate=1.5e-3, last_rate=1e-4, direct_weight=0.5, distortion_weight=0.01)
TUNED_STAGE = Stage(
    "tuned", 2500, rate=5e-4, last_rate=1e-6, direct_weight=0.1, distortion_weight=0.08, frozen_norms=True
)
# What the tuned nets were worst at: drums, and music without a stereo image.
REFINED_STAGE = Stage(
    "refined",
    2000,
    rate=6e-4,
    last_rate=1e-6,
    direct_weight=0.05,
    distortion_weight=0.12,
    frozen_norms=True,
    mono_share=0.45,
    heavier={"drums": 2.0},
)


def main() -> None:
    """Render the songs, train the nets, write the checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="songs, checkpoints and models go here")
    parser.add_argument("--songs", type=int, default=360, help="how many songs to render (40 MB each)")
    parser.add_argument("--processes", type=int, default=2, help="how many cores to use")
    parser.add_argument("--seed", type=int, default=1, help="of the nets and batches; a song's seed is its number")
    for stage in (COMMON_STAGE, PARTED_STAGE, TUNED_STAGE, REFINED_STAGE):
        parser.add_argument(f"--{stage.name}-steps", type=int, default=stage.steps, help=f"default {stage.steps}")
    options = parser.parse_args()
    _start_logging()
    songs, spawning = options.work / "songs", get_context("spawn")
    render_corpus(songs, range(min(COMMON_SONGS, options.songs)), processes=options.processes)
    common_stage = replace(COMMON_STAGE, steps=options.common_steps)
    common = spawning.Process(target=train_common, args=(options.work, common_stage, options.seed))
    common.start()
    render_corpus(songs, range(options.songs), processes=max(1, options.processes - 1))
    common.join()
    if common.exitcode:
        raise SystemExit("the common stage failed; what is done is kept, and the same command goes on")
    parted_stage = replace(PARTED_STAGE, steps=options.parted_steps)
    with spawning.Pool(min(options.processes, len(GROUPS)), _start_logging) as pool:
        pool.map(partial(train_group, options.work, parted_stage, options.seed), GROUPS)
    tuned_stage = replace(TUNED_STAGE, steps=options.tuned_steps)
    refined_stage = replace(REFINED_STAGE, steps=options.refined_steps)
    for before, stage in ((PARTED_STAGE, tuned_stage), (tuned_stage, refined_stage)):
        with TemporaryDirectory() as meeting:
            shared = (options.processes, Path(meeting), options.work, before.name, stage, options.seed)
            spawn(train_together, shared, nprocs=options.processes)
    ends = [load_nets(options.work, stage.name) for stage in (TUNED_STAGE, REFINED_STAGE)]
    write_models(mean_nets(*ends), options.work / "models")


def train_common(work: Path, stage: Stage, seed: int) -> None:
    """Train the many-headed net that all nets start from, while the later songs are still being rendered."""
    _start_logging()
    torch.manual_seed(seed)
    model = ManyHeaded(COMMON)
    mixer = Mixer(open_corpus(work / "songs")[:COMMON_SONGS], seed, stage.name, stage.mono_share)
    train(model, stage, mixer, work / "common.pt")


def train_group(work: Path, stage: Stage, seed: int, group: Group) -> None:
    """Let the nets of a group part from the common one."""
    nets = load_nets(work, COMMON_STAGE.name)
    model = Ensemble({name: nets[name] for name in group.frozen + group.trained}, group.frozen)
    stage = replace(stage, name=f"{stage.name}-{group.name}", steps=int(stage.steps * group.pace))
    mixer = Mixer(open_corpus(work / "songs"), seed, stage.name, stage.mono_share)
    train(model, stage, mixer, work / f"{stage.name}.pt")


def train_together(
    rank: int, processes: int, meeting: Path, work: Path, before: str, stage: Stage, seed: int
) -> None:
    """Train all nets as one of several processes, each with batches of its own, that share every step's gradient."""
    _start_logging()
    with Peers.meet(rank, processes, meeting) as peers:
        mixer = Mixer(open_corpus(work / "songs"), seed, f"{stage.name}-{rank}", stage.mono_share)
        train(Ensemble(load_nets(work, before)), stage, mixer, work / f"{stage.name}.pt", peers)


def load_nets(work: Path, stage: str) -> dict[str, UNet]:
    """Return all nets as they came out of a stage."""
    if stage == COMMON_STAGE.name:
        common = ManyHeaded(COMMON)
        common.load_state_dict(torch.load(work / "common.pt", weights_only=True)["model"])
        return {name: common.part(origin) for name, origin in ORIGINS.items()}
    parts = {PARTED_STAGE.name: {f"{stage}-{group.name}": group.trained for group in GROUPS}}
    nets = {}
    for checkpoint, names in parts.get(stage, {stage: tuple(NETS)}).items():
        weights = torch.load(work / f"{checkpoint}.pt", weights_only=True)["model"]
        for name in names:
            nets[name] = UNet(Trunk(), Head())
            nets[name].load_state_dict(
                {key.removeprefix(f"nets.{name}."): value for key, value in weights.items() if f".{name}." in key}
            )
    return nets


def mean_nets(first: dict[str, UNet], second: dict[str, UNet]) -> dict[str, UNet]:
    """Return the nets halfway between two ends of a training, which tend to do better by unlike music than either.

    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018.
    """
    means = {}
    for name, net in first.items():
        others = second[name].state_dict()
        means[name] = UNet(Trunk(), Head())
        means[name].load_state_dict({key: (value + others[key]) / 2 for key, value in net.state_dict().items()})
    return means


def _start_logging() -> None:
    """Log times and messages; one thread a process, because a process a core is faster on nets this small."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
