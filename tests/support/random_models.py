"""Fixtures: folders of random models, made once a session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ezstems.errors import FetchFailed
from ezstems.weights.folders import Weights, find
from tests.support import checkpoints, real_weights
from tests.support.shared import made_once

Official = Callable[[int], Weights]
SMALL = [4, 6, 8, 12, 12, 16]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small random models of 2, 4 and 5 stems."""

    def make(folder: Path) -> None:
        for stems in (2, 4, 5):
            checkpoints.make(folder, stems, SMALL)

    return made_once(tmp_path_factory, "models", make)


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Official:
    """Return a function from a number of stems to a random checkpoint of the official architecture."""

    def made(stems: int) -> Weights:
        folder = made_once(tmp_path_factory, f"official-{stems}", lambda fresh: checkpoints.make(fresh, stems))
        return find("official", stems, folder)

    return made


@pytest.fixture(scope="session")
def deezers() -> Path:
    """Return a folder with Deezer's own 2 stems alone; skip where they can't be had."""
    try:
        return real_weights.folder()
    except FetchFailed as error:
        pytest.skip(f"Deezer's weights can't be had here: {error}")
