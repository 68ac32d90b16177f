"""Forms of a frozen U-Net's last layers that compute the same, in a third less of the whole network's time.

The last transposed convolution (5 x 5, stride 2, to one channel) and the dilated one after it (4 x 4, dilation 2, to
two) keep a processor's vectors almost empty. On the grid before the upsampling, with the four pixels that each of its
points becomes as channels, both are plain convolutions: a sub-pixel convolution (Shi et al. 2016, "Real-Time Single
Image and Video Super-Resolution"). What is between them works on single values and stays as it is.

Sums and softmaxes over the stems need no stack of them, either: as chains of single operations they take a tenth.
"""

from collections.abc import Iterator
from logging import getLogger
from typing import Any

import numpy as np

from ezstems.audio.runtimes import openvino

logger = getLogger(__name__)

STRIDE = 2
UP_PAD = 1  # zeros before the input of the transposed convolution: TensorFlow's "same" of 5 x 5, stride 2
DILATED_PAD = 3  # and of 4 x 4, dilation 2
POINTWISE = {"Add", "Subtract", "Multiply", "Divide", "Relu", "PRelu", "Elu"}
TAPS = {(5, 5): (-1, 0, 1), (4, 4): (-2, -1, 0, 1, 2)}  # of the plain convolutions that take their places


def rewrite(model: Any) -> None:
    """Rewrite an OpenVINO model where the layers are found; elsewhere it stays as it is."""
    for node in list(model.get_ordered_ops()):
        if node.get_type_name() == "ConvolutionBackpropData" and node.input_value(1).shape[1] == 1:
            _upsample_last(node)
    for node in list(model.get_ordered_ops()):
        if node.get_type_name() == "ReduceSum":
            _add_one_by_one(node)
        elif node.get_type_name() == "Softmax":
            _softmax_unstacked(node)
    model.validate_nodes_and_infer_types()


def up_kernel(kernel: np.ndarray) -> np.ndarray:
    """Return the sub-pixel form (4, channels, 3, 3) of a transposed kernel (channels, 1, 5, 5)."""
    taps = TAPS[5, 5]
    plain = np.zeros((STRIDE, STRIDE, kernel.shape[0], len(taps), len(taps)), np.float32)
    for row, column, i, j in np.ndindex(STRIDE, STRIDE, len(taps), len(taps)):
        y, x = row + UP_PAD - STRIDE * taps[i], column + UP_PAD - STRIDE * taps[j]
        if 0 <= y < 5 and 0 <= x < 5:
            plain[row, column, :, i, j] = kernel[:, 0, y, x]
    return plain.reshape(STRIDE * STRIDE, -1, len(taps), len(taps))


def dilated_kernel(kernel: np.ndarray) -> np.ndarray:
    """Return the sub-pixel form (4 channels, 4, 5, 5) of a kernel (channels, 1, 4, 4) of dilation 2."""
    channels, taps = kernel.shape[0], TAPS[4, 4]
    plain = np.zeros((channels, STRIDE, STRIDE, STRIDE, STRIDE, len(taps), len(taps)), np.float32)
    for row, column, y, x in np.ndindex(STRIDE, STRIDE, 4, 4):
        # An odd padding and an even dilation: every output reads the pixels of the other parity.
        i = (row + STRIDE * y - DILATED_PAD - (1 - row)) // STRIDE - taps[0]
        j = (column + STRIDE * x - DILATED_PAD - (1 - column)) // STRIDE - taps[0]
        plain[:, row, column, 1 - row, 1 - column, i, j] = kernel[:, 0, y, x]
    return plain.reshape(channels * STRIDE * STRIDE, STRIDE * STRIDE, len(taps), len(taps))


def _consumers(node: Any, kind: str | None = None) -> list[Any]:
    found = [target.get_node() for target in node.output(0).get_target_inputs()]
    return [node for node in found if kind is None or node.get_type_name() == kind]


def _constant(value: Any) -> np.ndarray | None:
    node = value.get_node()
    return node.get_data() if node.get_type_name() == "Constant" else None


def _between(node: Any) -> list[Any] | None:
    """Return what works on single values between a node and its SpaceToBatch, in order; None where that isn't so."""
    chain: list[Any] = []
    while not _consumers(node, "SpaceToBatch"):
        following = _consumers(node)
        if len(following) != 1 or following[0].input_value(0).get_node() != node:
            return None
        node = following[0]
        others = [_constant(value) for value in node.input_values()[1:]]
        if node.get_type_name() not in POINTWISE or any(other is None or other.size != 1 for other in others):
            return None
        chain.append(node)
    readers = [reader.get_type_name() for reader in _consumers(node)]
    return chain if sorted({*readers}) in (["SpaceToBatch"], ["ShapeOf", "SpaceToBatch"]) else None


def _doubles(up: Any) -> bool:
    """Tell whether a transposed convolution is TensorFlow's "same" of stride 2."""
    attributes = up.get_attributes()
    return attributes["auto_pad"] == "same_lower" and list(attributes["strides"]) == [STRIDE, STRIDE]


def _upsample_last(up: Any) -> None:
    opset = openvino().opset13
    kernel, chain = _constant(up.input_value(1)), _between(up) if _doubles(up) else None
    last = chain[-1] if chain else up
    dilated = next(_after(last, ("SpaceToBatch", "Convolution")), None) if chain is not None else None
    ends = _consumers(dilated, "BatchToSpace") if dilated is not None else []
    head = None if dilated is None else _constant(dilated.input_value(1))
    if kernel is None or head is None or len(ends) != 1 or kernel.shape[2:] != (5, 5) or head.shape[1:] != (1, 4, 4):
        logger.warning("the network's last layers are not Spleeter's; they stay as they are")
        return
    ones, sides = [1, 1], [len(TAPS[5, 5]) // 2] * 2
    upsampled = opset.convolution(up.input_value(0), opset.constant(up_kernel(kernel)), ones, sides, sides, ones)
    up.output(0).replace(upsampled.output(0))
    for node in chain or []:
        node.constructor_validate_and_infer_types()
    sides = [len(TAPS[4, 4]) // 2] * 2
    before = last.output(0) if chain else upsampled.output(0)
    pixels = opset.convolution(before, opset.constant(dilated_kernel(head)), ones, sides, sides, ones)
    end = ends[0]
    # The bias and the sigmoid go before the pixels' reordering, too: the convolution takes them in.
    for kind in ("Add", "Sigmoid"):
        following = _consumers(end, kind)
        if len(following) != 1 or len(_consumers(end)) != 1:
            break
        if kind == "Add":
            bias = _constant(following[0].input_value(1))
            if bias is None or bias.size != head.shape[0]:
                break
            repeated = np.repeat(bias.reshape(-1), STRIDE * STRIDE).reshape(1, -1, 1, 1)
            pixels = opset.add(pixels, opset.constant(repeated))
        else:
            pixels = opset.sigmoid(pixels)
        end = following[0]
    end.output(0).replace(opset.depth_to_space(pixels, "depth_first", STRIDE).output(0))


def _after(node: Any, kinds: tuple[str, ...]) -> Iterator[Any]:
    """Yield the nodes that are reached from one through the kinds, one after the other."""
    if not kinds:
        yield node
        return
    for following in _consumers(node, kinds[0]):
        yield from _after(following, kinds[1:])


def _add_one_by_one(total: Any) -> None:
    """Sum a stack of tensors without stacking them, in the same order."""
    opset = openvino().opset13
    stack = total.input_value(0).get_node()
    parts = [value.get_node() for value in stack.input_values()] if stack.get_type_name() == "Concat" else []
    axes = _constant(total.input_value(1))
    if len(parts) < 2 or any(part.get_type_name() != "Unsqueeze" for part in parts) or axes is None or axes.any():
        return
    if total.get_attributes()["keep_dims"] or stack.get_attributes()["axis"] != 0:
        return
    running = parts[0].input_value(0)
    for part in parts[1:]:
        running = opset.add(running, part.input_value(0)).output(0)
    total.output(0).replace(running)


def _softmax_unstacked(softmax: Any) -> None:
    """Compute a softmax over the last axis of a transposed stack, each part of which is cut out again, without one."""
    opset = openvino().opset13
    transpose = softmax.input_value(0).get_node()
    order = _constant(transpose.input_value(1)) if transpose.get_type_name() == "Transpose" else None
    stack = transpose.input_value(0).get_node()
    if order is None or list(order) != [0, 2, 3, 1, 4] or stack.get_type_name() != "Concat":
        return
    parts = [value.get_node() for value in stack.input_values()]
    slices = {int(_begin(node)[-1]): node for node in _consumers(softmax, "StridedSlice")}
    if any(part.get_type_name() != "Unsqueeze" for part in parts) or sorted(slices) != list(range(len(parts))):
        return
    if softmax.get_attributes()["axis"] not in (-1, 4) or stack.get_attributes()["axis"] not in (-1, 4):
        return
    values = [part.input_value(0) for part in parts]
    top = values[0]
    for value in values[1:]:
        top = opset.maximum(top, value).output(0)
    powers = [opset.exp(opset.subtract(value, top)) for value in values]
    total = powers[0]
    for power in powers[1:]:
        total = opset.add(total, power)
    to_channels_last = opset.constant(np.array([0, 2, 3, 1], np.int64))
    for index, power in enumerate(powers):
        share = opset.transpose(opset.divide(power, total), to_channels_last)
        slices[index].output(0).replace(share.output(0))


def _begin(slice_: Any) -> np.ndarray:
    begin = _constant(slice_.input_value(1))
    return np.array([-1]) if begin is None else begin
