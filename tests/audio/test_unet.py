"""The network's masks, and what a checkpoint must hold."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import stft, weights
from ezstems.audio.separate import STEMS
from ezstems.audio.unet import Unet, configuration, tensorflow
from ezstems.audio.weights import Weights
from ezstems.errors import ConfigurationError
from tests.audio.audio_files import song


def magnitudes(bins: int = 1024, seed: int = 3) -> np.ndarray:
    tile, _ = next(stft.tiles([song(300_000, seed=seed)]))
    return stft.Workspace(bins, average=False).magnitudes(tile)


@pytest.mark.parametrize(("cutoff", "bins"), [("11kHz", 1024), ("16kHz", 1536)])
def test_masks_share_out_the_mix(cutoff: str, bins: int, models: Path) -> None:
    unet = Unet(weights.find("official", 5, models), cutoff)
    assert unet.bins == bins and set(unet.instruments) == set(STEMS[5])
    masks = unet.masks(magnitudes(bins))
    assert all(mask.shape == (512, bins, 2) and mask.dtype == np.float32 for mask in masks.values())
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in masks.values())
    assert np.abs(sum(masks.values()) - 1)[:250].max() < 1e-5


def test_masks_are_equal_shares_of_silence(models: Path) -> None:
    unet = Unet(weights.find("official", 4, models), "11kHz")
    for mask in unet.masks(np.zeros((512, 1024, 2), np.float32)).values():
        assert np.allclose(mask, 0.25)


def test_masks_from_several_threads_are_the_same(models: Path) -> None:
    unet = Unet(weights.find("official", 2, models), "11kHz")
    inputs = [magnitudes(seed=seed) for seed in range(4)]
    alone = [unet.masks(values) for values in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(unet.masks, inputs))
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in unet.instruments)


def test_graphs_built_at_once_are_whole(models: Path) -> None:
    found = [weights.find("official", stems, models) for stems in (2, 4, 2, 4)]
    with ThreadPoolExecutor(4) as pool:
        unets = list(pool.map(lambda one: Unet(one, "11kHz"), found))
    values = magnitudes()
    for unet, twin in ((unets[0], unets[2]), (unets[1], unets[3])):
        masks, same = unet.masks(values), twin.masks(values)
        assert all(np.array_equal(masks[name], same[name]) for name in unet.instruments)


def test_half_precision_checkpoint_is_expanded(models: Path, tmp_path: Path) -> None:
    found = weights.find("official", 2, models)
    half = store(found, tmp_path / "2stems", lambda name, value: value.astype(np.float16))
    values = magnitudes()
    one, other = Unet(found, "11kHz").masks(values), Unet(half, "11kHz").masks(values)
    for name, mask in one.items():
        assert 0 < np.abs(mask - other[name]).max() < 0.05


def test_checkpoint_that_does_not_fit_is_refused(models: Path, tmp_path: Path) -> None:
    found = weights.find("official", 2, models)
    wide = Weights(found.source, 2, found.checkpoint, {})  # as if config.json were lost
    with pytest.raises(ConfigurationError, match=r"2stems.*conv2d/kernel=\[5, 5, 2, 4\] must be \[5, 5, 2, 16\]$"):
        Unet(wide, "11kHz")
    lacking = store(found, tmp_path / "2stems", lambda name, value: None if name == "conv2d_3/bias" else value)
    with pytest.raises(ConfigurationError, match="conv2d_3/bias=missing"):
        Unet(lacking, "11kHz")


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
    return weights.find("official", found.stems, folder.parent)


def test_configuration_is_spleeters_own_with_overrides(tmp_path: Path) -> None:
    plain = configuration(Weights("official", 4, tmp_path, {}), "11kHz")
    assert plain["model"]["params"] == {"conv_activation": "ELU", "deconv_activation": "ELU"}
    overrides = {"model": {"params": {"conv_n_filters": [1, 2, 3, 4, 5, 6]}}, "separation_exponent": 1}
    merged = configuration(Weights("builtin", 4, tmp_path, overrides), "16kHz")
    assert merged["model"]["params"] == plain["model"]["params"] | {"conv_n_filters": [1, 2, 3, 4, 5, 6]}
    assert (merged["separation_exponent"], merged["F"], merged["model"]["type"]) == (1, 1536, "unet.unet")
    assert configuration(Weights("official", 5, tmp_path, {}), "11kHz")["model"]["type"] == "unet.softmax_unet"


def test_import_is_cheap() -> None:
    code = "import sys, json, ezstems.audio.separate; print(json.dumps([n for n in sys.modules if '.' not in n]))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"tensorflow", "tf_keras", "spleeter", "pandas", "flask", "sqlalchemy"} & set(loaded)
