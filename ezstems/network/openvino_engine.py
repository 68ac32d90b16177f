"""The fast engine: Spleeter's network, built straight from a checkpoint, in OpenVINO, without TensorFlow.

OpenVINO is imported by the first engine, never by importing this module.
"""

import json
from logging import getLogger
from typing import Any

import numpy as np

from ezstems.network import runtimes, unet
from ezstems.network.configuration import configuration
from ezstems.network.cpu import cores
from ezstems.network.engine import TILES_IN_FLIGHT, Masks
from ezstems.network.pages import Pages
from ezstems.network.tile import CHANNELS, TILE_FRAMES
from ezstems.weights.folders import Weights

logger = getLogger(__name__)

PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16"}
# Whether what is compiled does without the kernels it was compiled from, as the first network of a kind has shown.
_independent: dict[str, bool] = {}


class OpenvinoEngine:
    """Keep one network compiled for this machine; `runner` may be called from several threads."""

    name = "openvino"
    quick = True  # it loads in a fraction of a second, and gives its memory back

    def __init__(self, weights: Weights, cutoff: str, precision: str) -> None:
        """Compile the network of some weights for a cutoff (11kHz or 16kHz) and a precision.

        Raises what `unet.build` does, and RuntimeError where OpenVINO can't compile it.
        """
        parts = [(part, configuration(part, cutoff)) for part in weights.parts]
        self.bins: int = parts[-1][1]["F"]
        self.precision = precision
        kernels = self._compile(parts)
        # What computes has a copy of each kernel, laid out for the processor; yet OpenVINO would keep the kernels, too.
        kind = json.dumps([precision, self.bins, *(params["model"] for _, params in parts)], sort_keys=True)
        if _independent.get(kind, True) and kernels.release() and kind not in _independent:
            self.runner()(np.zeros((TILE_FRAMES, self.bins, CHANNELS), np.float32))
            _independent[kind] = not kernels.were_read()
            if not _independent[kind]:
                logger.warning("OpenVINO goes on reading the kernels of %s; they stay in memory", weights.label)
                self._compile(parts)

    def _compile(self, parts: list[tuple[Weights, dict[str, Any]]]) -> Pages:
        network = unet.build(parts)
        self._compiled: Any = runtimes.openvino().Core().compile_model(
            network.model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": PRECISION_HINTS[self.precision],
                "NUM_STREAMS": TILES_IN_FLIGHT,
                "INFERENCE_NUM_THREADS": max(cores(), TILES_IN_FLIGHT),
                "ENABLE_CPU_PINNING": False,  # decoders, encoders and transforms want the same cores
                "CPU_DENORMALS_OPTIMIZATION": True,
            },
        )
        self._instruments = [output.get_any_name() for output in self._compiled.outputs]
        return network.kernels

    def runner(self) -> Masks:
        """Return a function from the magnitudes of one tile to its masks, which its next call overwrites."""
        request = self._compiled.create_infer_request()

        def masks(magnitudes: np.ndarray) -> dict[str, np.ndarray]:
            request.infer([magnitudes], share_inputs=True, share_outputs=True)
            tensors = (request.get_output_tensor(index) for index in range(len(self._instruments)))
            return dict(zip(self._instruments, (tensor.data for tensor in tensors), strict=True))

        return masks
