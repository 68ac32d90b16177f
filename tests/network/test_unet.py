"""The network that is built from a checkpoint is Spleeter's: the same masks, in every configuration."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ezstems.audio import stft
from ezstems.audio.separate import STEMS
from ezstems.errors import ConfigurationError
from ezstems.network import reference, unet
from ezstems.network.configuration import configuration
from ezstems.network.openvino_engine import OpenvinoEngine
from ezstems.weights import folders
from ezstems.weights.folders import Weights
from tests.support.audio_files import song
from tests.support.random_models import Official
from tests.support.tensorflow import tensorflow

TOLERANCE = 2e-5
Masks = dict[str, np.ndarray]

# One checkpoint fits them all: a wrong one loads without an error, and sounds wrong. Beside the defaults, which 2 stems
# have, and ELU both ways, which 4 and 5 have.
ACTIVATIONS: dict[str, dict[str, Any]] = {
    "unknown names": {"conv_activation": "Swish", "deconv_activation": 7},
    "mixed": {"conv_activation": "ReLU", "deconv_activation": "LeakyReLU"},
}


@cache
def magnitudes(bins: int) -> np.ndarray:
    """Return the magnitudes of a song's first tile, the last quarter of which is silent."""
    tile, count = next(stft.tiles([song(400_000, seed=3)]))
    return stft.Workspace(bins, average=False).magnitudes(tile, stft.frames(count))


def built(found: Weights, cutoff: str) -> Masks:
    """Return the masks of the network that is built."""
    engine = OpenvinoEngine(found, cutoff, "float32")
    return engine.runner()(magnitudes(engine.bins))


def spleeters(found: Weights, cutoff: str) -> Masks:
    """Return those of Spleeter's own graph."""
    v1, params = tensorflow().compat.v1, configuration(found, cutoff)
    graph = reference.build(found, params)
    with v1.Graph().as_default(), v1.Session() as session:
        v1.import_graph_def(graph.definition, name="")
        values = session.run(list(graph.masks), {graph.magnitudes: magnitudes(params["F"])[None]})
    return dict(zip(graph.instruments, values, strict=True))


def hold_same(found: Weights, cutoff: str) -> Masks:
    """Hold that both give the same masks, which say something, each its own."""
    actual, expected = built(found, cutoff), spleeters(found, cutoff)
    assert set(actual) == set(expected) == set(STEMS[found.stems])
    for stem, mask in expected.items():
        assert actual[stem].shape == mask.shape and actual[stem].dtype == np.float32
        difference = np.abs(actual[stem] - mask).max()
        print(f"{found.label} {cutoff} {stem}: {difference:.1e}")
        assert difference < TOLERANCE, stem
        assert mask[:380].std() > 0.02, f"{stem} says nothing"
        assert all(np.abs(mask - other).max() > 0.1 for name, other in expected.items() if name != stem)
    return actual


@pytest.mark.parametrize(("stems", "cutoff"), [(2, "11kHz"), (2, "16kHz"), (4, "11kHz"), (5, "16kHz")])
def test_fewer_filters(stems: int, cutoff: str, models: Path) -> None:
    hold_same(folders.find("official", stems, models), cutoff)


@pytest.mark.parametrize(("stems", "cutoff"), [(2, "16kHz"), (5, "11kHz")])
def test_the_official_size(stems: int, cutoff: str, official: Official) -> None:
    hold_same(official(stems), cutoff)


@pytest.mark.parametrize("stems", [2, 5])
def test_the_bundled_networks(stems: int, tmp_path: Path) -> None:
    hold_same(folders.find("builtin", stems, tmp_path), "11kHz")


@pytest.mark.parametrize("variant", ACTIVATIONS)
def test_other_activations(variant: str, models: Path) -> None:
    hold_same(changed(models, {"params": ACTIVATIONS[variant]}), "11kHz")


def test_a_softmax_of_other_activations(models: Path) -> None:
    hold_same(changed(models, {"type": "unet.softmax_unet", "params": ACTIVATIONS["mixed"]}), "11kHz")


def test_another_exponent(models: Path) -> None:
    hold_same(changed(models, {}, separation_exponent=1.5), "11kHz")


def test_instruments_in_another_order(models: Path) -> None:
    reverse = ["accompaniment", "vocals"]
    one = hold_same(changed(models, {}, instrument_list=reverse), "11kHz")
    other = built(changed(models, {}), "11kHz")
    assert np.array_equal(one["vocals"], other["accompaniment"])


def changed(models: Path, model: dict[str, Any], **overrides: Any) -> Weights:
    """Return the small 2 stems in another configuration."""
    found = folders.find("official", 2, models)
    params = found.overrides["model"]["params"] | model.get("params", {})
    merged = found.overrides | {"model": found.overrides["model"] | model | {"params": params}} | overrides
    return Weights(found.source, found.stems, found.checkpoint, merged)


def test_a_checkpoint_that_does_not_fit_is_refused(models: Path) -> None:
    found = folders.find("official", 2, models)
    wide = Weights(found.source, 2, found.checkpoint, {})  # as if config.json were lost
    with pytest.raises(ConfigurationError, match=r"2stems.*conv2d/kernel=\[5, 5, 2, 4\] must be \[5, 5, 2, 16\]$"):
        unet.build([(wide, configuration(wide, "11kHz"))])
    more = Weights(found.source, 4, found.checkpoint, found.overrides)
    with pytest.raises(ConfigurationError, match=r"4stems.*conv2d_14/kernel=missing must be \[5, 5, 2, 4\]$"):
        unet.build([(more, configuration(more, "11kHz"))])


def test_another_kind_of_network_is_named(models: Path) -> None:
    found = changed(models, {"type": "blstm.blstm"})
    with pytest.raises(unet.UnknownNetwork, match=r"^a network of type 'blstm.blstm'$"):
        unet.build([(found, configuration(found, "11kHz"))])
