"""The reference engine: Spleeter's graph in a persistent TensorFlow session."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ezstems.network import reference
from ezstems.network.composed import compose
from ezstems.network.configuration import configuration
from ezstems.network.engine import Masks
from ezstems.network.runtimes import tensorflow
from ezstems.network.tile import TILE_FRAMES
from ezstems.weights.folders import Weights


class TensorflowEngine:
    """Keep one network ready in TensorFlow; `runner` may be called from several threads."""

    name = "tensorflow"
    quick = False  # it loads in seconds, and TensorFlow gives little of its memory back

    def __init__(self, weights: Weights, cutoff: str, precision: str) -> None:
        """Load the network for a cutoff (11kHz or 16kHz) in float32 or bfloat16.

        Raises:
            ConfigurationError: the checkpoint doesn't fit the configuration.
        """
        parts = [(part, configuration(part, cutoff)) for part in weights.parts]
        self.bins: int = parts[-1][1]["F"]
        self.precision = precision
        graphs = [reference.build(*part) for part in parts]
        tf = tensorflow()
        v1 = tf.compat.v1
        options = v1.ConfigProto()
        if precision == "bfloat16":
            options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = 1
        with tf.Graph().as_default() as fresh:
            magnitudes = v1.placeholder(tf.float32, (1, TILE_FRAMES, self.bins, 2))
            masks = compose([partial(_masks, v1.import_graph_def, graph) for graph in graphs], magnitudes)
            session = v1.Session(graph=fresh, config=options)
            self._call: Any = session.make_callable(list(masks.values()), [magnitudes])
        self._instruments = tuple(masks)

    def runner(self) -> Masks:
        """Return a function from the magnitudes of one tile to its masks."""
        return self._masks

    def _masks(self, magnitudes: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self._instruments, self._call(magnitudes[None]), strict=True))


def _masks(import_graph_def: Callable[..., Any], graph: reference.FrozenGraph, magnitudes: Any) -> dict[str, Any]:
    """Put a graph into the default one, behind magnitudes (1, 512, F, 2)."""
    masks = import_graph_def(graph.definition, {graph.magnitudes: magnitudes}, graph.masks)
    return dict(zip(graph.instruments, masks, strict=True))
