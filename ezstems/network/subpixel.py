"""Forms of a U-Net's last two layers that compute the same in less time.

The last transposed convolution (5 x 5, stride 2, to one channel) and the dilated one after it (4 x 4, dilation 2, to
two) keep a processor's vectors almost empty. With each block of 4 x 4 pixels as one point of 16 channels, both are
plain convolutions: a sub-pixel convolution (Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution"). What
is between them works on single values and stays as it is.

Channels are ordered by row, column, and, behind them, the layer's own channel.
"""

import numpy as np

BLOCK = 4  # pixels on the side of a block
UP_STRIDE, UP_PAD = 2, 1  # TensorFlow's "same" of 5 x 5, stride 2: zeros before the input of the transposed convolution
UP_TAPS = range(-1, 3)  # the grid's points, from a block's first on, that its pixels are made of
DILATION, DILATED_PAD = 2, 3  # and of 4 x 4, dilation 2
BLOCK_TAPS = range(-1, 2)  # the blocks that a block's outputs read


def up_kernel(kernel: np.ndarray) -> np.ndarray:
    """Return the sub-pixel form (16, channels, 4, 4) of a transposed kernel (5, 5, channels).

    Its stride is 2 and its padding 1, all around.
    """
    plain = np.zeros((BLOCK, BLOCK, kernel.shape[2], len(UP_TAPS), len(UP_TAPS)), np.float32)
    for row, column, i, j in np.ndindex(BLOCK, BLOCK, len(UP_TAPS), len(UP_TAPS)):
        y, x = row + UP_PAD - UP_STRIDE * UP_TAPS[i], column + UP_PAD - UP_STRIDE * UP_TAPS[j]
        if 0 <= y < 5 and 0 <= x < 5:
            plain[row, column, :, i, j] = kernel[y, x]
    return plain.reshape(BLOCK * BLOCK, -1, len(UP_TAPS), len(UP_TAPS))


def dilated_kernel(kernel: np.ndarray) -> np.ndarray:
    """Return the sub-pixel form (16 channels, 16, 3, 3) of a kernel (4, 4, channels) of dilation 2.

    Its stride is 1 and its padding 1, all around.
    """
    channels, taps = kernel.shape[2], len(BLOCK_TAPS)
    plain = np.zeros((BLOCK, BLOCK, channels, BLOCK, BLOCK, taps, taps), np.float32)
    for row, column, y, x in np.ndindex(BLOCK, BLOCK, 4, 4):
        i, from_row = divmod(row + DILATION * y - DILATED_PAD, BLOCK)
        j, from_column = divmod(column + DILATION * x - DILATED_PAD, BLOCK)
        plain[row, column, :, from_row, from_column, i - BLOCK_TAPS[0], j - BLOCK_TAPS[0]] = kernel[y, x]
    return plain.reshape(BLOCK * BLOCK * channels, BLOCK * BLOCK, taps, taps)
