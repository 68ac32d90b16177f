"""What separates a tile: the narrow interface of the two engines."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ezstems.network.cpu import cores

# Each core has its tile, from the transform to the inverse, and one more fills the gaps: that is 3 to 5 % faster than
# without, two more no faster. More than five would take more memory than they are worth.
TILES_IN_FLIGHT = min(4, cores()) + 1

# From the float32 magnitudes (512, bins, 2) of one tile to a float32 mask (512, bins, 2) an instrument: Spleeter's
# (`EstimatorSpecBuilder._build_masks`) before their extension to the full band.
Masks = Callable[[np.ndarray], dict[str, np.ndarray]]


class Engine(Protocol):
    """Keep one network ready for one band, the lowest `bins` of the spectrum."""

    name: str
    quick: bool
    bins: int
    precision: str

    def runner(self) -> Masks:
        """Return a function for one tile at a time; each tile in flight has its own."""
