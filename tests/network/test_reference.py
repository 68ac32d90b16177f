"""Spleeter's graph, built from a checkpoint: what it takes, and what it refuses."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import stft
from ezstems.audio.separate import STEMS
from ezstems.errors import ConfigurationError
from ezstems.network.configuration import configuration
from ezstems.network.reference import FrozenGraph, build
from ezstems.weights import folders
from ezstems.weights.folders import Weights
from tests.support.audio_files import song
from tests.support.tensorflow import needs_tensorflow, tensorflow

pytestmark = needs_tensorflow


def built(found: Weights) -> FrozenGraph:
    return build(found, configuration(found, "11kHz"))


def masks(graph: FrozenGraph) -> dict[str, np.ndarray]:
    """Run a graph on a song's first tile."""
    tile, _ = next(stft.tiles([song(300_000, seed=3)]))
    magnitudes = stft.Workspace(1024, average=False).magnitudes(tile)
    v1 = tensorflow().compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        v1.import_graph_def(graph.definition, name="")
        values = session.run(list(graph.masks), {graph.magnitudes: magnitudes[None]})
    return dict(zip(graph.instruments, values, strict=True))


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one | other)


def test_a_graph_holds_its_weights(models: Path) -> None:
    graph = built(folders.find("official", 4, models))
    assert set(graph.instruments) == set(STEMS[4])
    assert graph.masks == tuple(f"mask_{name}:0" for name in graph.instruments)
    kinds = {node.op for node in graph.definition.node}
    assert "Const" in kinds and not {kind for kind in kinds if "Variable" in kind}


def test_graphs_built_at_once_are_whole(models: Path) -> None:
    found = [folders.find("official", stems, models) for stems in (2, 4, 2)]
    with ThreadPoolExecutor(3) as pool:
        graphs = list(pool.map(built, found))
    alone = [masks(graph) for graph in graphs]
    assert same(alone[0], alone[2]) and set(alone[1]) == set(STEMS[4])


def test_half_precision_checkpoint_is_expanded(models: Path, tmp_path: Path) -> None:
    found = folders.find("official", 2, models)
    half = store(found, tmp_path / "2stems", lambda name, value: value.astype(np.float16))
    one, other = masks(built(found)), masks(built(half))
    for name, mask in one.items():
        assert 0 < np.abs(mask - other[name]).max() < 0.05


def test_checkpoint_that_does_not_fit_is_refused(models: Path, tmp_path: Path) -> None:
    found = folders.find("official", 2, models)
    wide = Weights(found.source, 2, found.checkpoint, {})  # as if config.json were lost
    with pytest.raises(ConfigurationError, match=r"2stems.*conv2d/kernel=\[5, 5, 2, 4\] must be \[5, 5, 2, 16\]$"):
        built(wide)
    lacking = store(found, tmp_path / "2stems", lambda name, value: None if name == "conv2d_3/bias" else value)
    with pytest.raises(ConfigurationError, match="conv2d_3/bias=missing"):
        built(lacking)


def store(found: Weights, folder: Path, change: Callable[[str, np.ndarray], np.ndarray | None]) -> Weights:
    """Copy a checkpoint, each value changed, or left out where it becomes None."""
    tf = tensorflow()
    reader = tf.train.load_checkpoint(str(found.checkpoint))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        changed = {name: change(name, reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
        variables = {
            name: tf.compat.v1.get_variable(name, initializer=value, use_resource=True)
            for name, value in changed.items()
            if value is not None
        }
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables, save_relative_paths=True)
        folder.mkdir()
        saver.save(session, str(folder / "model"), write_meta_graph=False)
    shutil.copy(found.checkpoint.with_name("config.json"), folder)
    return folders.find("official", found.stems, folder.parent)
