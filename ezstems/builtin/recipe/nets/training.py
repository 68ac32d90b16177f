"""The training loop: steps, learning rates, checkpoints that survive an interruption."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor, nn

from ezstems.builtin.recipe.nets.losses import Losses, losses, report
from ezstems.builtin.recipe.nets.network import Ensemble, ManyHeaded
from ezstems.builtin.recipe.nets.peers import Peers
from ezstems.builtin.recipe.songs.mixing import Mixer

logger = getLogger(__name__)

CHECKPOINT_STEPS = 100
REPORT_STEPS = 50
WARM_UP_STEPS = 50
CALIBRATION_STEPS = 40
LARGEST_GRADIENT = 1.0
# Half precision is faster only where the processor multiplies it in hardware; sums and weights stay float32.
BFLOAT16 = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@dataclass(frozen=True)
class Stage:
    """Hold how one stage of the training goes."""

    name: str
    steps: int
    rate: float
    last_rate: float
    direct_weight: float
    distortion_weight: float
    frozen_norms: bool = False
    mono_share: float = 0.25
    # By net, how much more than that its distortion weighs.
    heavier: Mapping[str, float] = field(default_factory=dict)


def train(
    model: ManyHeaded | Ensemble, stage: Stage, mixer: Mixer, checkpoint: Path, peers: Peers | None = None
) -> None:
    """Run a stage from its last checkpoint, or from the start, to its end; the first of the peers keeps the records."""
    peers = peers or Peers()
    model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], eps=1e-7)
    first = _resume(model, optimiser, checkpoint)
    if stage.frozen_norms and first == 0:
        calibrate(model, mixer)
        peers.share_state(model)
    started, rows = monotonic(), list[Losses]()
    for step in range(first, stage.steps):
        torch.manual_seed(step * peers.count + peers.rank)
        for group in optimiser.param_groups:
            group["lr"] = _rate(stage, step)
        model.train()
        if stage.frozen_norms:
            for norm in _norms(model):
                norm.eval()
        mixtures, targets = _tensors(mixer, step, model)
        with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
            estimates = model(mixtures)
        floats = {name: estimate.float() for name, estimate in estimates.items()}
        parts = losses(mixtures, targets, floats, stage.heavier)
        loss = stage.direct_weight * sum(parts.direct.values()) + sum(parts.masked.values())
        loss = loss + stage.distortion_weight * sum(parts.distortion_db.values())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        peers.share_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT * len(targets))
        optimiser.step()
        if peers.rank == 0:
            rows.append(parts.detach())
        if peers.rank == 0 and (step + 1) % REPORT_STEPS == 0:
            pace = (monotonic() - started) / (step + 1 - first)
            logger.info("%s step %d of %d, %.2f s a step: %s", stage.name, step + 1, stage.steps, pace, report(rows))
            rows.clear()
        if peers.rank == 0 and ((step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == stage.steps):
            _save(model, optimiser, step + 1, checkpoint)


def calibrate(model: nn.Module, mixer: Mixer) -> None:
    """Replace the moving statistics of the batch normalisations by the mean over many batches."""
    model.eval()
    norms = [norm for norm in _norms(model) if next(norm.parameters()).requires_grad]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None
    with torch.no_grad():
        for step in range(CALIBRATION_STEPS):
            model(_tensors(mixer, step, model)[0])
    model.eval()


def _tensors(mixer: Mixer, step: int, model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a batch for the nets of a model as tensors (batch, 2, frames, bins), channels last in memory."""
    names = list(model.heads if isinstance(model, ManyHeaded) else model.nets)
    mixtures, targets = mixer.batch(step, names)
    tensors = {name: torch.from_numpy(target).permute(0, 3, 1, 2) for name, target in targets.items()}
    return torch.from_numpy(mixtures).permute(0, 3, 1, 2), tensors


def _rate(stage: Stage, step: int) -> float:
    """Return the learning rate of a step: warm-up, then half a cosine down to the last rate."""
    fall = 0.5 + 0.5 * math.cos(math.pi * step / stage.steps)
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (stage.last_rate + (stage.rate - stage.last_rate) * fall)


def _norms(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    """Yield every batch normalisation of a model."""
    return (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def _save(model: nn.Module, optimiser: torch.optim.Optimizer, step: int, checkpoint: Path) -> None:
    """Write a checkpoint beside the old one, then put it in its place."""
    part = checkpoint.with_suffix(".part")
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, part)
    part.replace(checkpoint)


def _resume(model: nn.Module, optimiser: torch.optim.Optimizer, checkpoint: Path) -> int:
    """Load a checkpoint if there is one; return the step to go on from."""
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
