"""The cheaper forms of the last layers compute what the layers do, and are found in every frozen network."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ezstems.audio import frozen, rewrite, runtimes, weights
from ezstems.audio.separate import STEMS

openvino = runtimes.openvino()
opset = openvino.opset13

SIZES = [(1, 1), (1, 4), (3, 5), (6, 7), (9, 2)]  # of the grid before the upsampling


def upsampled(grid: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Apply TensorFlow's transposed convolution, 5 x 5, stride 2, "same": (channels, h, w) to (2h, 2w).

    It is the gradient of the convolution that reads the pixels 2i - 1 to 2i + 3 for its output i: one zero goes
    before, two behind.
    """
    _, height, width = grid.shape
    padded = np.zeros((2 * height + 3, 2 * width + 3))
    for i, j in np.ndindex(height, width):
        padded[2 * i : 2 * i + 5, 2 * j : 2 * j + 5] += np.einsum("c,cyx->yx", grid[:, i, j], kernel[:, 0])
    return padded[1:-2, 1:-2]


def dilated(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Apply TensorFlow's convolution, 4 x 4, dilation 2, "same": (h, w) to (channels, h, w).

    Three zeros go on each side.
    """
    padded = np.pad(image.astype(float), 3)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7))[:, :, ::2, ::2]
    return np.einsum("ijyx,cyx->cij", windows, kernel[:, 0])


def convolved(grid: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Apply a plain convolution that keeps the size: (channels, h, w) with (out, channels, n, n) to (out, h, w)."""
    side = kernel.shape[2]
    padded = np.pad(grid.astype(float), ((0, 0), (side // 2,) * 2, (side // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
    return np.einsum("cijyx,ocyx->oij", windows, kernel)


def to_pixels(grid: np.ndarray) -> np.ndarray:
    """Lay four channels out as the pixels of their points: (4 n, h, w) to (n, 2h, 2w)."""
    count, height, width = len(grid) // 4, *grid.shape[1:]
    return grid.reshape(count, 2, 2, height, width).transpose(0, 3, 1, 4, 2).reshape(count, 2 * height, 2 * width)


def to_channels(image: np.ndarray) -> np.ndarray:
    """Undo it for one image: (2h, 2w) to (4, h, w)."""
    height, width = (side // 2 for side in image.shape)
    return image.reshape(height, 2, width, 2).transpose(1, 3, 0, 2).reshape(4, height, width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_upsampling_is_a_plain_convolution(channels: int, size: tuple[int, int]) -> None:
    random = np.random.default_rng(channels)
    grid, kernel = random.normal(size=(channels, *size)), random.normal(size=(channels, 1, 5, 5)).astype(np.float32)
    plain = rewrite.up_kernel(kernel)
    assert plain.shape == (4, channels, 3, 3) and plain.dtype == np.float32
    assert np.abs(to_pixels(convolved(grid, plain))[0] - upsampled(grid, kernel)).max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_dilated_one_is_a_plain_convolution(channels: int, size: tuple[int, int]) -> None:
    random = np.random.default_rng(channels)
    image = random.normal(size=(2 * size[0], 2 * size[1]))
    kernel = random.normal(size=(channels, 1, 4, 4)).astype(np.float32)
    plain = rewrite.dilated_kernel(kernel)
    assert plain.shape == (4 * channels, 4, 5, 5) and plain.dtype == np.float32
    assert np.abs(to_pixels(convolved(to_channels(image), plain)) - dilated(image, kernel)).max() < 1e-5


@pytest.mark.parametrize("stems", STEMS)
def test_every_networks_last_layers_are_found(stems: int, models: Path) -> None:
    folder = frozen.require(weights.find("official", stems, models), models)
    model = openvino.Core().read_model(folder / frozen.NETWORK)
    found = Counter(kinds(model))
    assert found["SpaceToBatch"] == found["BatchToSpace"] == 0
    assert found["DepthToSpace"] == stems
    transposed = [node for node in model.get_ops() if node.get_type_name() == "ConvolutionBackpropData"]
    assert len(transposed) == 5 * stems  # of six
    assert min(node.output(0).get_partial_shape()[1].get_length() for node in transposed) > 1


def network(*, side: int = 5, scale: tuple[int, ...] = (), head: int | None = 4) -> Any:
    """Make an end of a network; the defaults are Spleeter's kind: up to one channel, a product, a dilated convolution.

    `side` and `head` are the kernels' sides, `scale` the shape of what the product is with.
    """
    random = np.random.default_rng(7)

    def constant(*shape: int) -> Any:
        return opset.constant(random.normal(size=shape).astype(np.float32))

    grid = opset.parameter([1, 3, 6, 8], np.float32)
    shape = opset.constant([12, 16])
    up = opset.convolution_backprop_data(grid, constant(3, 1, side, side), [2, 2], shape, auto_pad="same_lower")
    out = opset.elu(opset.multiply(up, constant(*scale)), 1.0)
    if head is not None:
        ends = [0, 0, head - 1, head - 1]
        batches = opset.space_to_batch(out, [1, 1, 2, 2], ends, ends)
        plain = opset.convolution(batches, constant(2, 1, head, head), [1, 1], [0, 0], [0, 0], [1, 1])
        image = opset.batch_to_space(plain, [1, 1, 2, 2], [0] * 4, [0] * 4)
        out = opset.sigmoid(opset.add(image, constant(1, 2, 1, 1)))
    return openvino.Model([out], [grid], "network")


def run(model: Any) -> np.ndarray:
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([np.random.default_rng(5).normal(size=(1, 3, 6, 8)).astype(np.float32)])[0].copy()


def kinds(model: Any) -> list[str]:
    return [node.get_type_name() for node in model.get_ordered_ops()]


def test_what_is_spleeters_is_rewritten(caplog: pytest.LogCaptureFixture) -> None:
    model = network()
    expected = run(model)
    rewrite.rewrite(model)
    assert not {"ConvolutionBackpropData", "SpaceToBatch", "BatchToSpace"} & set(kinds(model))
    actual = run(model)
    assert actual.shape == (1, 2, 12, 16) and actual.std() > 0.1
    assert np.abs(actual - expected).max() < 1e-5
    assert caplog.text == ""


@pytest.mark.parametrize(
    "other",
    [{"side": 3}, {"head": 3}, {"head": None}, {"scale": (12, 16)}],
    ids=["another kernel", "another head", "no head", "a product pixel by pixel"],
)
def test_what_is_not_spleeters_is_left_as_it_is(other: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    model = network(**other)
    before, expected = kinds(model), run(model)
    with caplog.at_level(logging.WARNING):
        rewrite.rewrite(model)
    assert kinds(model) == before
    assert np.array_equal(run(model), expected)
    assert "the network's last layers are not Spleeter's; they stay as they are" in caplog.text
