"""The training loop: L1 on each net's own estimate and on what the ratio masks of whole models let through."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torch import Tensor, nn

from ezstems.builtin.mixing import Mixer
from ezstems.builtin.nets import MODELS
from ezstems.builtin.network import Ensemble, ManyHeaded

logger = getLogger(__name__)

CHECKPOINT_STEPS = 100
REPORT_STEPS = 25
WARM_UP_STEPS = 50
CALIBRATION_STEPS = 40
MASK_EPSILON = 1e-6  # Spleeter's 1e-10 makes gradients explode where all estimates are near zero
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Stage:
    """Hold how one stage of the training goes."""

    name: str
    steps: int
    rate: float
    last_rate: float
    direct_weight: float
    frozen_norms: bool = False


def train(model: ManyHeaded | Ensemble, stage: Stage, mixer: Mixer, checkpoint: Path) -> None:
    """Run a stage from its last checkpoint, or from the start, to its end."""
    model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], eps=1e-7)
    first = _resume(model, optimiser, checkpoint)
    if stage.frozen_norms and first == 0:
        calibrate(model, mixer)
    started, losses = monotonic(), []
    for step in range(first, stage.steps):
        torch.manual_seed(step)
        for group in optimiser.param_groups:
            group["lr"] = _rate(stage, step)
        model.train()
        if stage.frozen_norms:
            for norm in _norms(model):
                norm.eval()
        mixtures, targets = _tensors(mixer, step, model)
        estimates = model(mixtures)
        direct, masked = _losses(mixtures, targets, estimates)
        loss = stage.direct_weight * sum(direct.values()) + sum(masked.values())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT * len(targets))
        optimiser.step()
        losses.append({name: value.item() for name, value in (direct | masked).items()})
        if (step + 1) % REPORT_STEPS == 0:
            means = {name: np.mean([row[name] for row in losses]) for name in losses[0]}
            report = " ".join(f"{name}={mean:.4f}" for name, mean in means.items())
            pace = (monotonic() - started) / (step + 1 - first)
            logger.info("%s step %d of %d, %.2f s a step: %s", stage.name, step + 1, stage.steps, pace, report)
            losses.clear()
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == stage.steps:
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


def _losses(
    mixtures: Tensor, targets: dict[str, Tensor], estimates: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the direct loss of each net that learns and the masked loss of each model whose nets are all there.

    Each example counts relative to its own level, so that quiet music is learnt as well as loud music.
    """
    weight = 1 / (mixtures.mean(dim=(1, 2, 3), keepdim=True) + 1e-3)
    direct = {
        name: (weight * (estimate - targets[name]).abs()).mean()
        for name, estimate in estimates.items()
        if estimate.requires_grad
    }
    masked = {}
    for model, instruments in MODELS.items():
        nets = list(instruments.values())
        if not set(nets) <= set(estimates):
            continue
        squares = {net: estimates[net] ** 2 for net in nets}
        total = sum(squares.values()) + MASK_EPSILON
        errors = [(weight * (squares[net] / total * mixtures - targets[net]).abs()).mean() for net in nets]
        masked[model] = torch.stack(errors).sum()
    return direct, masked


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
