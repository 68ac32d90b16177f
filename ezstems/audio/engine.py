"""What separates a tile: the narrow interface of the two engines, and the choice between them."""

from collections.abc import Callable
from importlib.util import find_spec
from logging import getLogger
from typing import Protocol

import numpy as np

from ezstems.audio.checkpoint import Damaged
from ezstems.audio.cpu import cores, has_bfloat16
from ezstems.audio.runtimes import PYTHON
from ezstems.audio.unet import UnknownNetwork
from ezstems.audio.weights import Weights
from ezstems.errors import ConfigurationError

logger = getLogger(__name__)

ENGINES = ("auto", "openvino", "tensorflow")
PRECISIONS = ("auto", "float32", "bfloat16")
# Each core has its tile, from the transform to the inverse, and one more fills the gaps: that is 3 to 5 % faster than
# without, two more no faster. More than five would take more memory than they are worth.
TILES_IN_FLIGHT = min(4, cores()) + 1

# From the float32 magnitudes (512, bins, 2) of one tile to a float32 mask (512, bins, 2) an instrument: Spleeter's
# (`EstimatorSpecBuilder._build_masks`) before their extension to the full band.
Masks = Callable[[np.ndarray], dict[str, np.ndarray]]


class Engine(Protocol):
    """Keep one network ready for one band, the lowest `bins` of the spectrum."""

    name: str
    quick: bool
    bins: int
    precision: str

    def runner(self) -> Masks:
        """Return a function for one tile at a time; each tile in flight has its own."""


def check(engine: str, precision: str) -> None:
    """Raise ConfigurationError for settings that can't work here."""
    for name, value, allowed in (("ENGINE", engine, ENGINES), ("PRECISION", precision, PRECISIONS)):
        if value not in allowed:
            raise ConfigurationError(f"EZSTEMS_{name}={value!r} must be one of {', '.join(allowed)}")
    if engine != "auto" and find_spec(engine) is None:
        why = f"needs the package {engine}, which is not installed for {PYTHON}"
        raise ConfigurationError(f"EZSTEMS_ENGINE={engine!r} {why}")


def resolve(precision: str) -> str:
    """Return float32 or bfloat16: what the setting means on this machine."""
    if precision == "bfloat16" and not has_bfloat16():
        logger.warning("EZSTEMS_PRECISION=bfloat16: this processor has no instructions for it; float32 is used")
    return "bfloat16" if precision != "float32" and has_bfloat16() else "float32"


def open_engine(engine: str, precision: str, weights: Weights, cutoff: str) -> Engine:
    """Load a network into the engine that a setting means; `auto` is OpenVINO wherever it works.

    Raises:
        ConfigurationError: the checkpoint is damaged or doesn't fit, or what can run it isn't installed.
    """
    precision = resolve(precision)
    if engine != "tensorflow":
        from ezstems.audio.openvino_engine import OpenvinoEngine

        try:
            return OpenvinoEngine(weights, cutoff, precision)
        except Damaged as error:
            raise ConfigurationError(f"{weights.label}: {error}") from error
        except ConfigurationError:
            raise
        except UnknownNetwork as error:
            why = f"it is {error}"
        except Exception:  # whatever it is, TensorFlow can do without
            logger.warning("%s can't run in OpenVINO", weights.label, exc_info=True)
            why = "the log says why"
        if engine == "openvino":
            raise ConfigurationError(f"EZSTEMS_ENGINE=openvino: {weights.label} can't run in OpenVINO here; {why}")
        if lacking := [name for name in ("tensorflow", "tf_keras") if find_spec(name) is None]:
            why += f"; nor in TensorFlow: {lacking[0]!r} is not installed for {PYTHON}"
            raise ConfigurationError(f"{weights.label} can't run in OpenVINO here; {why}")
        logger.warning("%s runs in TensorFlow, which is slower; %s", weights.label, why)
    from ezstems.audio.tensorflow_engine import TensorflowEngine

    return TensorflowEngine(weights, cutoff, precision)
