"""Checkpoints in Spleeter's layout with random weights, so varied that masks differ between stems, bins and frames."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ezstems.audio import stft
from ezstems.network.configuration import configuration
from ezstems.weights.folders import Weights, find
from tests.support.audio_files import song
from tests.support.tensorflow import INSTALLED, tensorflow


def make(models: Path, stems: int, filters: list[int] | None = None) -> Weights:
    """Write `models/<stems>stems` and return it; `filters` (Spleeter's `conv_n_filters`) makes the network smaller.

    Where TensorFlow isn't installed, the bundled network is a small one, too; who needs the official size is skipped.
    """
    folder = models / f"{stems}stems"
    if filters and not INSTALLED:
        shutil.copytree(find("builtin", stems, models).checkpoint.parent, folder)
        return find("official", stems, models)
    folder.mkdir(parents=True)
    overrides: dict[str, Any] = {}
    if filters:
        overrides = {"model": {"params": {"conv_n_filters": filters}}}
        (folder / "config.json").write_text(json.dumps(overrides))
    weights = Weights("official", stems, folder / "model", overrides)
    tf = tensorflow()
    from spleeter.model import EstimatorSpecBuilder

    params = configuration(weights, "11kHz")
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.set_random_seed(stems)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            tf.keras.backend.set_learning_phase(1)  # batch norm then computes the statistics of what it sees
        magnitudes = v1.placeholder(tf.float32, (None, stft.TILE_FRAMES, params["F"], 2))
        features = {"mix_spectrogram": magnitudes, "mix_stft": magnitudes}
        _ = EstimatorSpecBuilder(features, params).model_outputs
        random = np.random.default_rng(stems)
        variables = {variable.op.name: variable for variable in v1.global_variables()}
        load(session, variables, {name: _draw(random, name, v.shape.as_list()) for name, v in variables.items()})
        norms = [op for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
        fetches = {op.name: (op.outputs[1], op.outputs[2]) for op in norms}
        statistics = session.run(fetches, {magnitudes: _magnitudes(params["F"])})
        moving: dict[str, np.ndarray] = {}
        for name, (mean, variance) in statistics.items():
            layer = name.rpartition("/")[0]
            moving |= {f"{layer}/moving_mean": mean, f"{layer}/moving_variance": variance}
        assert set(moving) == {name for name in variables if "/moving_" in name}
        load(session, variables, moving)
        session.run(v1.train.create_global_step().initializer)  # Spleeter's own Estimator asks for it
        v1.train.Saver(save_relative_paths=True).save(session, str(folder / "model"), write_meta_graph=False)
    (folder / ".probe").write_text("OK")
    return weights


def load(session: Any, variables: dict[str, Any], values: dict[str, np.ndarray]) -> None:
    """Give variables, by name, these values in one step."""
    initializers = {name: variables[name].initializer for name in values}
    feed = {initializers[name].inputs[1]: value for name, value in values.items()}
    session.run(list(initializers.values()), feed)


def _draw(random: np.random.Generator, name: str, shape: list[int]) -> np.ndarray:
    """Draw a variable: kernels with the spread of Keras's he_uniform, the rest away from 0 and 1."""
    kind = name.rpartition("/")[2]
    if kind == "kernel":
        return random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)
    if kind in ("gamma", "moving_variance"):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return random.normal(0, 0.2, shape).astype(np.float32)


def _magnitudes(bins: int) -> np.ndarray:
    tile, _ = next(stft.tiles([song(stft.TILE_SAMPLES, seed=99)]))
    return stft.Workspace(bins, average=False).magnitudes(tile)[None]
