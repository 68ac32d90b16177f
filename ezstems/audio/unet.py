"""Spleeter's own network as a frozen TensorFlow graph: magnitudes of a tile in, one mask a stem out.

TensorFlow is imported by the first graph, never by importing this module.
"""

import threading
import warnings
from dataclasses import dataclass
from logging import getLogger
from typing import Any

import numpy as np

from ezstems.audio.runtimes import tensorflow
from ezstems.audio.stft import BINS, TILE_FRAMES
from ezstems.audio.weights import Weights
from ezstems.errors import ConfigurationError

logger = getLogger(__name__)

# Spleeter's names of its configurations by cutoff; the two differ in nothing but F, the bins that the network sees
CONFIGURATIONS = {"11kHz": "spleeter:{}stems", "16kHz": "spleeter:{}stems-16kHz"}

_building = threading.Lock()  # graphs are built one at a time: Keras and TensorFlow share global state meanwhile


@dataclass(frozen=True)
class Graph:
    """Hold a GraphDef without variables, and the names of its tensors: `masks` in the instruments' order."""

    definition: Any
    magnitudes: str
    instruments: tuple[str, ...]
    masks: tuple[str, ...]


def configuration(weights: Weights, cutoff: str) -> dict[str, Any]:
    """Return Spleeter's configuration of as many stems with the weights' overrides merged over it."""
    from spleeter.utils.configuration import load_configuration

    params = _merged(load_configuration(CONFIGURATIONS[cutoff].format(weights.stems)), weights.overrides)
    params["MWF"] = False
    return params


def _merged(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both else value
    return merged


def build(weights: Weights, params: dict[str, Any], *, any_width: bool = False) -> Graph:
    """Build the network of a configuration, fill it from the checkpoint, and freeze it.

    It takes float32 magnitudes (1, 512, F, 2), with `any_width` of any F, and gives a float32 mask (512, F, 2) an
    instrument: Spleeter's (`EstimatorSpecBuilder._build_masks`) before their extension to the full band.

    Raises:
        ConfigurationError: the checkpoint doesn't fit the configuration.
    """
    with _building:
        tf = tensorflow()
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
            width = None if any_width else params["F"]
            magnitudes = v1.placeholder(tf.float32, (1, TILE_FRAMES, width, 2), "magnitudes")
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
        return Graph(definition, magnitudes.name, instruments, tuple(mask.name for mask in masks))


def _restore(tf: Any, session: Any, weights: Weights) -> None:
    """Load every variable of the session's graph from the checkpoint, whatever float type it is stored in."""
    reader = tf.train.load_checkpoint(str(weights.checkpoint))
    shapes = reader.get_variable_to_shape_map()
    variables = tf.compat.v1.global_variables()
    values = {}
    for variable in variables:
        name, shape = variable.op.name, variable.shape.as_list()
        if shapes.get(name) != shape:
            logger.error("%s: variable %s is %s, must be %s", weights.checkpoint, name, shapes.get(name), shape)
            raise ConfigurationError(
                f"{weights.label}: the checkpoint doesn't fit the configuration: "
                f"{name}={shapes.get(name, 'missing')} must be {shape}"
            )
        values[variable.initializer.inputs[1]] = reader.get_tensor(name).astype(np.float32)
    session.run([variable.initializer for variable in variables], values)  # at once: each run prepares the graph anew
