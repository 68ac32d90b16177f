"""Spleeter's U-Nets in OpenVINO, built straight from a checkpoint: magnitudes of a tile in, one mask a stem out.

Its layers are Spleeter's (`spleeter.model.functions.unet` and `EstimatorSpecBuilder._build_masks`), the last two in the
form that `subpixel` gives them. OpenVINO is imported by the first network, never by importing this module.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from ezstems.errors import ConfigurationError
from ezstems.network import subpixel
from ezstems.network.composed import compose
from ezstems.network.pages import Pages
from ezstems.network.runtimes import openvino
from ezstems.network.tile import CHANNELS, TILE_FRAMES
from ezstems.weights.checkpoint import Checkpoint, Damaged
from ezstems.weights.folders import Weights

KINDS = ("unet.unet", "unet.softmax_unet")
FILTERS = [16, 32, 64, 128, 256, 512]  # Spleeter's default
SLOPE = 0.2  # of LeakyReLU
NORM_EPSILON = 1e-3  # Keras's default
MASK_EPSILON = 1e-10  # EstimatorSpecBuilder.EPSILON
CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]

Activation = Callable[[Any], Any]


class UnknownNetwork(Exception):
    """Say that a network is of a kind that isn't built here; never leaves this room."""


@dataclass(frozen=True)
class Network:
    """Hold an OpenVINO model, and the kernels that it refers to until it is compiled."""

    model: Any
    kernels: Pages


def build(parts: Sequence[tuple[Weights, dict[str, Any]]]) -> Network:
    """Build the network of a configuration, filled from its checkpoint, or two composed ones.

    It takes float32 magnitudes (512, F, 2) and gives a float32 mask (512, F, 2) an instrument, named by it: Spleeter's
    before their extension to the full band.

    Raises:
        UnknownNetwork: the configuration is of another kind of network.
        ConfigurationError: the checkpoint is damaged or doesn't fit the configuration.
        OSError: the checkpoint can't be read.
        ImportError: OpenVINO is missing.
    """
    kernels, (weights, params) = Pages(), parts[-1]
    shape = [TILE_FRAMES, params["F"], CHANNELS]
    magnitudes = openvino().opset13.parameter(shape, np.float32, "magnitudes")
    masks = compose([partial(_part, kernels, *part) for part in parts], magnitudes)
    for instrument, mask in masks.items():
        mask.output(0).set_names({instrument})
    return Network(openvino().Model(list(masks.values()), [magnitudes], weights.label), kernels)


def _part(kernels: Pages, weights: Weights, params: dict[str, Any], magnitudes: Any) -> dict[str, Any]:
    try:
        return _masks(Layers(weights, kernels), params, magnitudes)
    except Damaged as error:
        raise ConfigurationError(f"{weights.label}: {error}") from error


def _masks(layers: "Layers", params: dict[str, Any], magnitudes: Any) -> dict[str, Any]:
    """Apply one network to magnitudes (512, F, 2): a mask of the same shape an instrument."""
    kind, instruments, bins = params["model"]["type"], params["instrument_list"], params["F"]
    if kind not in KINDS:
        raise UnknownNetwork(f"a network of type {kind!r}")
    ov = layers.ov
    grid = ov.transpose(ov.reshape(magnitudes, [1, TILE_FRAMES, bins, CHANNELS], False), CHANNELS_FIRST)
    logits = [_net(layers, grid, params["model"]["params"]) for _ in instruments]
    shares = _softmax(ov, logits) if kind == "unet.softmax_unet" else [ov.sigmoid(logit) for logit in logits]
    outputs = [ov.multiply(_image(ov, share, bins), magnitudes) for share in shares]
    exponent = params["separation_exponent"]
    powers = [ov.multiply(one, one) if exponent == 2 else ov.power(one, np.float32(exponent)) for one in outputs]
    total = ov.add(reduce(ov.add, powers), np.float32(MASK_EPSILON))
    masks = [ov.divide(ov.add(power, np.float32(MASK_EPSILON / len(powers))), total) for power in powers]
    return dict(zip(instruments, masks, strict=True))


def _net(layers: "Layers", grid: Any, options: dict[str, Any]) -> Any:
    """Apply one instrument's U-Net to a grid (1, 2, 512, F): logits (1, 32, 128, F / 4), a block's as channels."""
    ov = layers.ov
    activations: dict[str, Activation] = {
        "ReLU": ov.relu,
        "ELU": lambda grid: ov.elu(grid, 1.0),
        "LeakyReLU": lambda grid: ov.prelu(grid, np.array([SLOPE], np.float32)),
    }
    # Any other name, or none, means the default, as it does to Spleeter.
    down = activations.get(str(options.get("conv_activation")), activations["LeakyReLU"])
    up = activations.get(str(options.get("deconv_activation")), activations["ReLU"])
    filters = options.get("conv_n_filters", FILTERS)
    skips: list[Any] = []
    inputs = CHANNELS
    for outputs in filters:
        skips.append(layers.convolution(grid, inputs, outputs))
        grid, inputs = down(layers.norm(skips[-1], outputs)), outputs
    grid = skips.pop()  # the lowest level's normalisation leads nowhere
    for outputs in reversed(filters[:-1]):
        grid = layers.norm(up(layers.transposed(grid, inputs, outputs)), outputs)
        skip, inputs = skips.pop(), 2 * outputs
        if skips:
            grid = ov.concat([skip, grid], 1)
    return layers.last(skip, grid, filters[0], up)


def _softmax(ov: Any, logits: list[Any]) -> list[Any]:
    """Share out each pixel by chains of single operations: to stack the logits takes ten times as long."""
    top = reduce(ov.maximum, logits)
    powers = [ov.exp(ov.subtract(logit, top)) for logit in logits]
    total = reduce(ov.add, powers)
    return [ov.divide(power, total) for power in powers]


def _image(ov: Any, blocks: Any, bins: int) -> Any:
    """Lay blocks (1, 32, 128, F / 4) out as pixels (512, F, 2)."""
    side = subpixel.BLOCK
    shape = [TILE_FRAMES // side, bins // side, side, side * CHANNELS]
    rows = ov.transpose(ov.reshape(ov.transpose(blocks, CHANNELS_LAST), shape, False), [0, 2, 1, 3])
    return ov.reshape(rows, [TILE_FRAMES, bins, CHANNELS], False)


class Layers:
    """Make Spleeter's layers, each from the tensors that Keras's count of its kind names."""

    def __init__(self, weights: Weights, kernels: Pages) -> None:
        """Open the checkpoint; the kernels go into the pages."""
        self.ov = openvino().opset13
        self._kernels = kernels
        self._label = weights.label
        self._checkpoint = Checkpoint(weights.checkpoint)
        self._made: Counter[str] = Counter()

    def convolution(self, grid: Any, inputs: int, outputs: int) -> Any:
        """Halve a grid: 5 x 5, stride 2; TensorFlow's "same" is one zero before it and two behind."""
        name = self._next("conv2d")
        kernel = self._tensor(f"{name}/kernel", (5, 5, inputs, outputs)).transpose(3, 2, 0, 1)
        halved = self.ov.convolution(grid, self._kernel(kernel), [2, 2], [1, 1], [2, 2], [1, 1])
        return self.ov.add(halved, self._channels(self._tensor(f"{name}/bias", (outputs,))))

    def transposed(self, grid: Any, inputs: int, outputs: int) -> Any:
        """Double a grid by the transpose of such a convolution."""
        name = self._next("conv2d_transpose")
        kernel = self._tensor(f"{name}/kernel", (5, 5, outputs, inputs)).transpose(3, 2, 0, 1)
        doubled = self.ov.convolution_backprop_data(
            grid, self._kernel(kernel), [2, 2], pads_begin=[1, 1], pads_end=[2, 2]
        )
        return self.ov.add(doubled, self._channels(self._tensor(f"{name}/bias", (outputs,))))

    def norm(self, grid: Any, channels: int) -> Any:
        """Normalise a grid by the statistics that the training left."""
        name = self._next("batch_normalization")
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        gamma, beta, mean, variance = (self._tensor(f"{name}/{part}", (channels,)) for part in parts)
        scale = gamma / np.sqrt(variance + np.float32(NORM_EPSILON))
        return self.ov.add(self.ov.multiply(grid, self._channels(scale)), self._channels(beta - mean * scale))

    def last(self, skip: Any, grid: Any, channels: int, activation: Activation) -> Any:
        """Double two grids of so many channels to one, and make two logits of each of its pixels."""
        ov, name = self.ov, self._next("conv2d_transpose")
        kernel = subpixel.up_kernel(self._tensor(f"{name}/kernel", (5, 5, 1, 2 * channels))[:, :, 0])
        # To add what becomes of the two takes less time than to put them together first.
        halves = [
            ov.convolution(one, self._kernel(half), [2, 2], [1, 1], [1, 1], [1, 1])
            for one, half in zip((skip, grid), np.split(kernel, 2, axis=1), strict=True)
        ]
        pixels = ov.add(ov.add(*halves), self._channels(self._tensor(f"{name}/bias", (1,))))
        pixels, name = self.norm(activation(pixels), 1), self._next("conv2d")
        kernel = subpixel.dilated_kernel(self._tensor(f"{name}/kernel", (4, 4, 1, CHANNELS))[:, :, 0])
        logits = ov.convolution(pixels, self._kernel(kernel), [1, 1], [1, 1], [1, 1], [1, 1])
        bias = np.tile(self._tensor(f"{name}/bias", (CHANNELS,)), subpixel.BLOCK**2)
        return ov.add(logits, self._channels(bias))

    def _next(self, kind: str) -> str:
        number = self._made[kind]
        self._made[kind] += 1
        return f"{kind}_{number}" if number else kind

    def _tensor(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        found = self._checkpoint.shape(name)
        if found != shape:
            raise ConfigurationError(
                f"{self._label}: the checkpoint doesn't fit the configuration: "
                f"{name}={'missing' if found is None else list(found)} must be {list(shape)}"
            )
        return self._checkpoint.tensor(name)

    def _kernel(self, values: np.ndarray) -> Any:
        return self.ov.constant(self._kernels.copy(values), shared_memory=True)

    def _channels(self, values: np.ndarray) -> Any:
        return self.ov.constant(values.reshape(1, -1, 1, 1))
