"""Spleeter's own graph of a bundled model, restored from its folder: what conversion is held against."""

import json
import os
from pathlib import Path
from types import TracebackType

import numpy as np

# Before the imports, because TensorFlow chooses its Keras once: Spleeter was written for the second.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf  # noqa: E402
from spleeter.model import EstimatorSpecBuilder  # noqa: E402
from spleeter.utils.configuration import load_configuration  # noqa: E402

tf1 = tf.compat.v1


class RestoredGraph:
    """Compute masks of one model, (tiles, 512 frames, 1024 bins, 2) float32 in and out."""

    def __init__(self, folder: Path) -> None:
        settings = load_configuration(f"spleeter:{folder.name}")
        settings.update(json.loads((folder / "config.json").read_text()))
        self.instruments: list[str] = settings["instrument_list"]
        weights = tf.train.load_checkpoint(str(folder / "model"))
        with tf.Graph().as_default() as graph:
            tf1.keras.backend.set_learning_phase(0)
            shape = (None, settings["T"], settings["F"], settings["n_channels"])
            self._input = tf1.placeholder(tf.float32, shape)
            features = {f"{settings['mix_name']}_{kind}": self._input for kind in ("spectrogram", "stft")}
            builder = EstimatorSpecBuilder(features, settings)
            outputs = builder.model_outputs
            squares = [outputs[f"{name}_spectrogram"] ** 2 for name in self.instruments]
            total = tf.add_n(squares) + builder.EPSILON
            self._masks = [(square + builder.EPSILON / len(squares)) / total for square in squares]
            self._session = tf1.Session(graph=graph)
            for variable in tf1.global_variables():
                variable.load(weights.get_tensor(variable.op.name).astype(np.float32), self._session)

    def masks(self, magnitudes: np.ndarray) -> list[np.ndarray]:
        """Return the ratio mask of each instrument, in their order."""
        return self._session.run(self._masks, {self._input: magnitudes})

    def __enter__(self) -> "RestoredGraph":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()
