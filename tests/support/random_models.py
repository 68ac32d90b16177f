"""Fixtures: folders of random models, made once a session."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from ezstems.errors import FetchFailed
from ezstems.weights.folders import Weights
from tests.support import checkpoints, real_weights

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
