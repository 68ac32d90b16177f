"""The cheaper forms of the last layers compute what the layers do."""

import numpy as np
import pytest

from ezstems.network import subpixel

SIZES = [(1, 1), (1, 4), (3, 5), (6, 7), (9, 2)]  # in blocks


def upsampled(grid: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Apply TensorFlow's transposed convolution, 5 x 5, stride 2, "same": (channels, h, w) to (2h, 2w).

    It is the gradient of the convolution that reads the pixels 2i - 1 to 2i + 3 for its output i: one zero goes
    before, two behind.
    """
    _, height, width = grid.shape
    padded = np.zeros((2 * height + 3, 2 * width + 3))
    for i, j in np.ndindex(height, width):
        padded[2 * i : 2 * i + 5, 2 * j : 2 * j + 5] += np.einsum("c,yxc->yx", grid[:, i, j], kernel)
    return padded[1:-2, 1:-2]


def dilated(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Apply TensorFlow's convolution, 4 x 4, dilation 2, "same": (h, w) to (channels, h, w).

    Three zeros go on each side.
    """
    padded = np.pad(image.astype(float), 3)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7))[:, :, ::2, ::2]
    return np.einsum("ijyx,yxc->cij", windows, kernel)


def convolved(grid: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Apply a plain convolution, a zero on each side: (channels, h, w) by (out, channels, n, n) to (out, h', w')."""
    side = kernel.shape[2]
    padded = np.pad(grid.astype(float), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))[:, ::stride, ::stride]
    return np.einsum("cijyx,ocyx->oij", windows, kernel)


def to_pixels(blocks: np.ndarray) -> np.ndarray:
    """Lay the channels out as the pixels of their blocks: (4 x 4 x n, h, w) to (n, 4h, 4w)."""
    _, height, width = blocks.shape
    pixels = blocks.reshape(4, 4, -1, height, width).transpose(2, 3, 0, 4, 1)
    return pixels.reshape(-1, 4 * height, 4 * width)


def to_blocks(image: np.ndarray) -> np.ndarray:
    """Undo it for one image: (4h, 4w) to (16, h, w)."""
    height, width = (side // 4 for side in image.shape)
    return image.reshape(height, 4, width, 4).transpose(1, 3, 0, 2).reshape(16, height, width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_upsampling_is_a_plain_convolution(channels: int, size: tuple[int, int]) -> None:
    random = np.random.default_rng(channels)
    grid = random.normal(size=(channels, 2 * size[0], 2 * size[1]))
    kernel = random.normal(size=(5, 5, channels)).astype(np.float32)
    plain = subpixel.up_kernel(kernel)
    assert plain.shape == (16, channels, 4, 4) and plain.dtype == np.float32
    assert np.abs(to_pixels(convolved(grid, plain, 2))[0] - upsampled(grid, kernel)).max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_dilated_one_is_a_plain_convolution(channels: int, size: tuple[int, int]) -> None:
    random = np.random.default_rng(channels)
    image = random.normal(size=(4 * size[0], 4 * size[1]))
    kernel = random.normal(size=(4, 4, channels)).astype(np.float32)
    plain = subpixel.dilated_kernel(kernel)
    assert plain.shape == (16 * channels, 16, 3, 3) and plain.dtype == np.float32
    assert np.abs(to_pixels(convolved(to_blocks(image), plain)) - dilated(image, kernel)).max() < 1e-5
