"""Spleeter's U-Net in PyTorch, layer for layer, so that trained weights fit its TensorFlow graph.

The definition is `spleeter/model/functions/unet.py` (`apply_unet`) with ELU in both directions. TensorFlow's "same"
padding is uneven where stride or dilation make it so: one sample before and two after for a 5x5 kernel of stride 2.
All spectrograms are magnitudes, float32 (batch, 2 channels, frames, bins).
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

FILTERS = (16, 24, 32, 40, 48, 48)
BATCH_NORM_EPSILON = 1e-3  # Keras' default
BATCH_NORM_MOMENTUM = 0.03
DROPOUT = 0.1  # Spleeter trains with 0.5, on nets with far more parameters


class Trunk(nn.Module):
    """Hold all of a U-Net but its last two layers: spectrograms to features at half their resolution."""

    def __init__(self, filters: tuple[int, ...] = FILTERS) -> None:
        super().__init__()
        down = (2, *filters)
        up = filters[4::-1]
        joined = (filters[5], *(2 * size for size in up))
        self.downs = nn.ModuleList(nn.Conv2d(down[i], down[i + 1], 5, 2) for i in range(6))
        self.down_norms = nn.ModuleList(_batch_norm(filters[i]) for i in range(5))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(joined[i], up[i], 5, 2) for i in range(5))
        self.up_norms = nn.ModuleList(_batch_norm(up[i]) for i in range(5))
        _initialise(self)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Return (batch, 2 * first filters, frames / 2, bins / 2)."""
        hidden, skips = magnitudes, []
        for level, convolution in enumerate(self.downs):
            hidden = convolution(functional.pad(hidden, (1, 2, 1, 2)))
            if level < 5:
                skips.append(hidden)
                hidden = functional.elu(self.down_norms[level](hidden))
        for level, convolution in enumerate(self.ups):
            hidden = self.up_norms[level](functional.elu(_grow(convolution, hidden)))
            if level < 3:
                hidden = functional.dropout(hidden, DROPOUT, self.training)
            hidden = torch.cat([skips.pop(), hidden], dim=1)
        return hidden


class Head(nn.Module):
    """Hold a U-Net's last two layers: features to a mask between 0 and 1."""

    def __init__(self, filters: tuple[int, ...] = FILTERS) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * filters[0], 1, 5, 2)
        self.norm = _batch_norm(1)
        self.mask = nn.Conv2d(1, 2, 4, dilation=2, padding=3)
        _initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, 2, frames, bins)."""
        return torch.sigmoid(self.mask(self.norm(functional.elu(_grow(self.up, features)))))


class UNet(nn.Module):
    """Estimate one stem's magnitudes as a share of the mixture's."""

    def __init__(self, trunk: Trunk, head: Head) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Multiply the mixture's magnitudes by the mask that the net sees in them."""
        return self.head(self.trunk(magnitudes)) * magnitudes


class ManyHeaded(nn.Module):
    """Estimate several stems from one trunk's features: a cheap start for the nets that later part."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.heads = nn.ModuleDict({name: Head() for name in names})

    def forward(self, magnitudes: Tensor) -> dict[str, Tensor]:
        """Return every head's estimate by its name."""
        features = self.trunk(magnitudes)
        return {name: head(features) * magnitudes for name, head in self.heads.items()}

    def part(self, name: str) -> UNet:
        """Return a U-Net of its own with copies of the trunk and of one head."""
        return UNet(copy.deepcopy(self.trunk), copy.deepcopy(self.heads[name]))


class Ensemble(nn.Module):
    """Estimate several stems with a net each; frozen ones take part but do not learn."""

    def __init__(self, nets: dict[str, UNet], frozen: Iterable[str] = ()) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(nets)
        self.frozen = tuple(frozen)
        for name in self.frozen:
            self.nets[name].requires_grad_(False)

    def train(self, mode: bool = True) -> "Ensemble":
        """Switch to training, the frozen nets excepted."""
        super().train(mode)
        for name in self.frozen:
            self.nets[name].eval()
        return self

    def forward(self, magnitudes: Tensor) -> dict[str, Tensor]:
        """Return every net's estimate by its name."""
        return {name: net(magnitudes) for name, net in self.nets.items()}


def _grow(convolution: nn.Module, hidden: Tensor) -> Tensor:
    """Double the resolution as a transposed convolution with "same" padding does."""
    height, width = 2 * hidden.shape[2], 2 * hidden.shape[3]
    return convolution(hidden)[:, :, 1 : 1 + height, 1 : 1 + width]


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    """Make a batch normalisation with Keras' epsilon."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)


def _initialise(module: nn.Module) -> None:
    """Draw kernels as Spleeter does (He, uniform); biases start at zero."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
