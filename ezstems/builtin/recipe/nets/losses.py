"""What training makes small: L1 on each net's own estimate and on what the ratio masks of whole models let through,
and the distortion of the latter in dB, chunk by chunk, which is what the figures of a separation count.

Each example weighs relative to its own level, so that quiet music is learnt as well as loud music. All tensors are
float32 magnitudes (batch, 2 channels, frames, bins).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ezstems.builtin.recipe.nets.nets import MODELS

MASK_EPSILON = 1e-6  # Spleeter's 1e-10 makes gradients explode where all estimates are near zero
CHUNK_FRAMES = 32
SILENT_SHARE = 1e-3  # of the mixture's energy: a chunk below it says nothing of the distortion
LEAST_DISTORTION = 0.03  # of the stem's energy: about what the best of all ratio masks leaves


@dataclass(frozen=True)
class Losses:
    """Hold the parts of the loss, by net and by model."""

    direct: dict[str, Tensor]
    masked: dict[str, Tensor]
    distortion_db: dict[str, Tensor]

    def detach(self) -> "Losses":
        """Return the same figures without the graph behind them."""
        return Losses(*({name: value.detach() for name, value in part.items()} for part in vars(self).values()))


def losses(
    mixtures: Tensor, targets: dict[str, Tensor], estimates: dict[str, Tensor], heavier: Mapping[str, float]
) -> Losses:
    """Return the losses of the nets that learn and of the models whose nets are all there.

    heavier: by net, how many times its distortion counts; once where nothing is said.
    """
    weight = 1 / (mixtures.mean(dim=(1, 2, 3), keepdim=True) + 1e-3)
    direct = {
        name: (weight * (estimate - targets[name]).abs()).mean()
        for name, estimate in estimates.items()
        if estimate.requires_grad
    }
    masked, distortion_db = {}, {}
    for model, instruments in MODELS.items():
        nets = list(instruments.values())
        if not set(nets) <= set(estimates):
            continue
        squares = {net: estimates[net] ** 2 for net in nets}
        total = sum(squares.values()) + MASK_EPSILON
        passed = {net: squares[net] / total * mixtures for net in nets}
        masked[model] = torch.stack([(weight * (passed[net] - targets[net]).abs()).mean() for net in nets]).sum()
        distortion_db[model] = torch.stack(
            [heavier.get(net, 1.0) * _distortion_db(passed[net], targets[net], mixtures) for net in nets]
        ).sum()
    return Losses(direct, masked, distortion_db)


def report(rows: list[Losses]) -> str:
    """Say the means of some steps' losses in one line."""
    means = []
    for kind in ("direct", "masked", "distortion_db"):
        for name in getattr(rows[0], kind):
            mean = torch.stack([getattr(row, kind)[name] for row in rows]).mean().item()
            means.append(f"{name}={mean:.4f}" if kind != "distortion_db" else f"{name}={mean:.2f}dB")
    return " ".join(means)


def _distortion_db(estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
    """Return the mean over audible chunks of 10 log10 |s - ŝ|²/|s|², the negative of the SDR."""
    energy, error, whole = (_energies(values) for values in (target, estimate - target, mixture))
    audible = energy > SILENT_SHARE * whole
    ratio = torch.where(audible, (error + LEAST_DISTORTION * energy) / energy.clamp_min(1e-12), torch.ones_like(energy))
    return 10 * torch.log10(ratio).sum() / audible.sum().clamp_min(1)


def _energies(values: Tensor) -> Tensor:
    """Return the energy of each chunk over channels, frames and bins, (batch, chunks)."""
    return (values**2).sum(dim=(1, 3)).unfold(1, CHUNK_FRAMES, CHUNK_FRAMES).sum(dim=2)
