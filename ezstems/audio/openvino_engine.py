"""The fast engine: Spleeter's frozen graph in OpenVINO, without TensorFlow.

OpenVINO is imported by the first engine, never by importing this module.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from ezstems.audio import runtimes
from ezstems.audio.cpu import cores
from ezstems.audio.engine import TILES_IN_FLIGHT, Masks
from ezstems.audio.frozen import MASK, NETWORK, WEIGHTS, bins_of
from ezstems.audio.stft import TILE_FRAMES

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenvinoEngine:
    """Keep one network compiled for this machine; `runner` may be called from several threads."""

    name = "openvino"
    quick = True  # it loads in a fraction of a second, and gives its memory back

    def __init__(self, folder: Path, cutoff: str, precision: str) -> None:
        """Compile the network in `folder` (see `frozen`) for a cutoff (11kHz or 16kHz) and a precision.

        Raises ImportError where OpenVINO is missing, RuntimeError where it can't read or compile the network.
        """
        openvino = runtimes.openvino()
        core = openvino.Core()
        # The weights' file is mapped here, so that its pages can be let go of once they are laid out for the processor.
        with (folder / WEIGHTS).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        weights = openvino.Tensor(np.frombuffer(mapped, np.uint8), shared_memory=True)
        model = core.read_model((folder / NETWORK).read_bytes(), weights)
        self.bins = bins_of(model, cutoff)
        self.precision = precision
        model.reshape([1, TILE_FRAMES, self.bins, 2])
        self._compiled: Any = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
                "NUM_STREAMS": TILES_IN_FLIGHT,
                "INFERENCE_NUM_THREADS": max(cores(), TILES_IN_FLIGHT),
                "ENABLE_CPU_PINNING": False,  # decoders, encoders and transforms want the same cores
                "CPU_DENORMALS_OPTIMIZATION": True,
            },
        )
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        self._weights = weights  # must outlive what was compiled from it
        self._instruments = [_instrument(output.get_names()) for output in self._compiled.outputs]

    def runner(self) -> Masks:
        """Return a function from the magnitudes of one tile to its masks, which its next call overwrites."""
        request = self._compiled.create_infer_request()

        def masks(magnitudes: np.ndarray) -> dict[str, np.ndarray]:
            request.infer([magnitudes[None]], share_inputs=True, share_outputs=True)
            tensors = (request.get_output_tensor(index) for index in range(len(self._instruments)))
            return dict(zip(self._instruments, (tensor.data for tensor in tensors), strict=True))

        return masks


def _instrument(names: set[str]) -> str:
    """Return the instrument that an output's mask, `mask_<instrument>:0`, is for."""
    return next(name for name in names if name.startswith(MASK)).removeprefix(MASK).partition(":")[0]
