"""A separator that needs no network: it decodes, transforms and encodes as the real one does.

Every stem gets an equal share of the sound. No separation begins while the instance folder holds a file `hold`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ezstems.audio.separate import STEMS, Separation, Separator
from ezstems.errors import Interrupted
from ezstems.network.engine import Masks
from tests.support.separators import Gate

# Long enough for a kill to find the children of a separation alive.
TILE_SECONDS = 0.15


class Share:
    """Be an engine that gives every stem the same mask."""

    name, quick, bins, precision = "shares", True, 1024, "float32"

    def __init__(self, stems: tuple[str, ...]) -> None:
        self._stems = stems

    def runner(self) -> Masks:
        def masks(magnitudes: np.ndarray) -> dict[str, np.ndarray]:
            time.sleep(TILE_SECONDS)
            share = np.full(magnitudes.shape, 1 / len(self._stems), np.float32)
            return dict.fromkeys(self._stems, share)

        return masks


class Shares:
    """Stand in for the networks."""

    def weights(self, stems: int) -> Any:
        return SimpleNamespace(label="equal shares")

    @contextmanager
    def use(self, stems: int, cutoff: str, waiting: Callable[[], None] = lambda: None) -> Iterator[Share]:
        yield Share(STEMS[stems])

    def drop_idle(self) -> None:
        pass


class SharingSeparator(Separator):
    """Separate without a network, when the test allows it."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._networks = Shares()  # type: ignore[assignment]

    def __call__(
        self, source: Path, directory: Path, *, stopping: Callable[[], bool] = lambda: False, **options: Any
    ) -> Separation:
        while not Gate().is_set():
            options["progress"](0.0)
            if stopping():
                raise Interrupted("stopped")
            time.sleep(0.02)
        return super().__call__(source, directory, stopping=stopping, **options)
