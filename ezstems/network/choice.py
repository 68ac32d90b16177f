"""Which engine and precision run a network: what the settings mean on this machine."""

from importlib.util import find_spec
from logging import getLogger

from ezstems.errors import ConfigurationError
from ezstems.network.cpu import has_bfloat16
from ezstems.network.engine import Engine
from ezstems.network.runtimes import PYTHON
from ezstems.network.unet import UnknownNetwork
from ezstems.weights.folders import Weights

logger = getLogger(__name__)

ENGINES = ("auto", "openvino", "tensorflow")
PRECISIONS = ("auto", "float32", "bfloat16")


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
        from ezstems.network.openvino_engine import OpenvinoEngine

        try:
            return OpenvinoEngine(weights, cutoff, precision)
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
    from ezstems.network.tensorflow_engine import TensorflowEngine

    return TensorflowEngine(weights, cutoff, precision)
