"""Trained nets into Spleeter's checkpoint layout, one folder a model, under the names that its graph gives them."""

import json
from logging import getLogger
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ezstems.builtin.recipe.nets.graph import RestoredGraph, tf
from ezstems.builtin.recipe.nets.nets import MODELS
from ezstems.builtin.recipe.nets.network import FILTERS, UNet

logger = getLogger(__name__)

CONFIGURATION = {
    "model": {
        "type": "unet.unet",
        "params": {"conv_n_filters": list(FILTERS), "conv_activation": "ELU", "deconv_activation": "ELU"},
    }
}
# What Spleeter's downloader leaves in a folder to say that it is complete.
PROBE = "OK"
PARITY_TOLERANCE = 1e-4


def write_models(nets: dict[str, UNet], directory: Path) -> None:
    """Write every model's folder, then hold Spleeter's graph against the PyTorch nets with the same weights."""
    for net in nets.values():
        _round_kernels(net)
    for model, instruments in MODELS.items():
        folder = directory / model
        folder.mkdir(parents=True, exist_ok=True)
        write_checkpoint([nets[name] for name in instruments.values()], folder)
        (folder / "config.json").write_text(json.dumps(CONFIGURATION, indent=2) + "\n")
        difference = largest_difference([nets[name] for name in instruments.values()], folder)
        logger.info("%s: masks differ from PyTorch's by at most %.1e", model, difference)
        if difference > PARITY_TOLERANCE:
            raise ValueError(f"the masks of {model} differ by {difference:.1e}, not at most {PARITY_TOLERANCE:.0e}")


def write_checkpoint(nets: list[UNet], folder: Path) -> None:
    """Write nets, in the order of their instruments, as one checkpoint.

    Kernels and the like are stored as float16, half the size for no audible difference; batch normalisation's moving
    statistics stay float32, because variances of loud spectrograms exceed float16's range.
    """
    tensors: dict[str, np.ndarray] = {}
    for index, net in enumerate(nets):
        tensors.update(_variables(net, index))
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    (folder / "checkpoint").write_text('model_checkpoint_path: "model"\nall_model_checkpoint_paths: "model"\n')
    (folder / ".probe").write_text(PROBE)


def largest_difference(nets: list[UNet], folder: Path) -> float:
    """Return how far the graph's ratio masks are from those of the nets, on loud and quiet noise."""
    rng = np.random.default_rng(0)
    magnitudes = np.abs(rng.normal(size=(2, 512, 1024, 2)) * np.array([30, 0.5])[:, None, None, None])
    magnitudes = magnitudes.astype(np.float32)
    tensor = torch.from_numpy(magnitudes).permute(0, 3, 1, 2)
    with torch.no_grad():
        squares = torch.stack([net.eval()(tensor) ** 2 for net in nets]).permute(0, 1, 3, 4, 2).numpy()
    masks = (squares + 1e-10 / len(nets)) / (squares.sum(axis=0) + 1e-10)
    with RestoredGraph(folder) as graph:
        return float(np.abs(np.stack(graph.masks(magnitudes)) - masks).max())


def _variables(net: UNet, index: int) -> dict[str, np.ndarray]:
    """Name a net's weights as Keras does, whose numbers run on from one instrument to the next."""
    body, head = net.body, net.head
    sixth = len(body.downs) - 1
    # Spleeter normalises its sixth convolution too, but uses what comes before: any statistics will do.
    unused = nn.BatchNorm2d(body.downs[sixth].out_channels)
    norms = [*body.down_norms, unused, *body.up_norms, head.norm]
    variables: dict[str, np.ndarray] = {}
    layers = [("conv2d", [*body.downs, head.mask]), ("conv2d_transpose", [*body.ups, head.up])]
    for kind, convolutions in layers:
        for position, convolution in enumerate(convolutions):
            name = _layer(kind, index * len(convolutions) + position)
            variables[f"{name}/kernel"] = _array(convolution.weight.permute(2, 3, 1, 0), np.float16)
            variables[f"{name}/bias"] = _array(convolution.bias, np.float16)
    for position, norm in enumerate(norms):
        name = _layer("batch_normalization", index * len(norms) + position)
        variables[f"{name}/gamma"] = _array(norm.weight, np.float16)
        variables[f"{name}/beta"] = _array(norm.bias, np.float16)
        variables[f"{name}/moving_mean"] = _array(norm.running_mean, np.float32)
        variables[f"{name}/moving_variance"] = _array(norm.running_var, np.float32)
    return variables


def _layer(kind: str, number: int) -> str:
    """Return Keras' name of the layer of a kind that was made after so many others."""
    return f"{kind}_{number}" if number else kind


def _array(tensor: Tensor, dtype: type[np.floating]) -> np.ndarray:
    """Return a tensor's values in C order."""
    return np.ascontiguousarray(tensor.detach().numpy().astype(dtype))


def _round_kernels(net: UNet) -> None:
    """Round the parameters to what float16 holds."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())
