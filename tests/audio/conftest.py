"""Checkpoints that the tests of this folder share: made once a session."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from ezstems.audio.weights import Weights
from ezstems.errors import FetchFailed
from tests import real_weights
from tests.audio import checkpoints

Official = Callable[[int], Weights]
SMALL = [4, 6, 8, 12, 12, 16]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small random models of 2, 4 and 5 stems."""
    folder = tmp_path_factory.mktemp("models")
    for stems in (2, 4, 5):
        checkpoints.make(folder, stems, SMALL)
    return folder


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Official:
    """Return a function from a number of stems to a random checkpoint of the official architecture."""
    folder = tmp_path_factory.mktemp("official")
    return cache(lambda stems: checkpoints.make(folder, stems))


@pytest.fixture(scope="session")
def deezers() -> Path:
    """Return a folder with Deezer's own 2 stems alone; skip where they can't be had."""
    try:
        return real_weights.folder()
    except FetchFailed as error:
        pytest.skip(f"Deezer's weights can't be had here: {error}")
