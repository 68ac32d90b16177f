"""Spleeter's own model code as a TensorFlow graph of constants: magnitudes of a tile in, one mask a stem out.

TensorFlow is imported by the first graph, never by importing this module.
"""

import threading
import warnings
from dataclasses import dataclass
from logging import getLogger
from typing import Any

import numpy as np

from ezstems.errors import ConfigurationError
from ezstems.network.runtimes import PYTHON, tensorflow
from ezstems.network.tile import BINS, TILE_FRAMES
from ezstems.weights.folders import Weights

logger = getLogger(__name__)

_building = threading.Lock()  # graphs are built one at a time: Keras and TensorFlow share global state meanwhile


@dataclass(frozen=True)
class FrozenGraph:
    """Hold a GraphDef without variables, and the names of its tensors: `masks` in the instruments' order."""

    definition: Any
    magnitudes: str
    instruments: tuple[str, ...]
    masks: tuple[str, ...]


def build(weights: Weights, params: dict[str, Any]) -> FrozenGraph:
    """Build the network of a configuration, filled from the checkpoint.

    It takes float32 magnitudes (1, 512, F, 2) and gives a float32 mask (512, F, 2) an instrument: Spleeter's
    (`EstimatorSpecBuilder._build_masks`) before their extension to the full band.

    Raises:
        ConfigurationError: the checkpoint is damaged or doesn't fit, or TensorFlow isn't installed.
    """
    with _building:
        try:
            tf = tensorflow()
        except ModuleNotFoundError as error:
            why = f"{error.name!r} is not installed for {PYTHON}"
            raise ConfigurationError(f"{weights.label} needs TensorFlow: {why}") from error
        from spleeter.model import EstimatorSpecBuilder

        class Masks(EstimatorSpecBuilder):
            def _extend_mask(self, mask: Any) -> Any:
                return mask  # the extension is applied tile by tile, outside the graph

        v1 = tf.compat.v1
        graph = tf.Graph()
        with graph.as_default():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # deprecated, but the only way into Spleeter's layers
                tf.keras.backend.set_learning_phase(0)
            magnitudes = v1.placeholder(tf.float32, (1, TILE_FRAMES, params["F"], 2), "magnitudes")
            stft = v1.placeholder(tf.complex64, (TILE_FRAMES, BINS, 2), "stft")  # only its static shape is read
            mix = params["mix_name"]
            builder = Masks({f"{mix}_spectrogram": magnitudes, f"{mix}_stft": stft}, params)
            instruments = tuple(params["instrument_list"])
            masks = [tf.identity(builder.masks[name], f"mask_{name}") for name in instruments]
            with v1.Session(graph=graph) as session:
                _restore(tf, session, weights)
                definition = v1.graph_util.convert_variables_to_constants(
                    session, graph.as_graph_def(), [mask.op.name for mask in masks]
                )
        return FrozenGraph(definition, magnitudes.name, instruments, tuple(mask.name for mask in masks))


def _restore(tf: Any, session: Any, weights: Weights) -> None:
    """Load every variable of the session's graph from the checkpoint, whatever float type it is stored in."""
    variables = tf.compat.v1.global_variables()
    try:
        reader = tf.train.load_checkpoint(str(weights.checkpoint))
        shapes = reader.get_variable_to_shape_map()
        values = {}
        for variable in variables:
            name, shape = variable.op.name, variable.shape.as_list()
            if shapes.get(name) != shape:
                raise ConfigurationError(
                    f"{weights.label}: the checkpoint doesn't fit the configuration: "
                    f"{name}={shapes.get(name, 'missing')} must be {shape}"
                )
            values[variable.initializer.inputs[1]] = reader.get_tensor(name).astype(np.float32)
    except (tf.errors.OpError, IndexError) as error:  # the second where a shard is cut off
        logger.error("%s is damaged: %s", weights.checkpoint, error)
        raise ConfigurationError(f"{weights.label}: {weights.checkpoint.name!r} is damaged") from error
    session.run([variable.initializer for variable in variables], values)  # at once: each run prepares the graph anew
