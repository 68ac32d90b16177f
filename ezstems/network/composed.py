"""Two networks in a row: the official 2 stems take the vocals out, the bundled ones separate what is left."""

from collections.abc import Callable, Sequence
from typing import Any

# From a tile's magnitudes to a mask a stem; either of numbers, or of an OpenVINO or TensorFlow graph's nodes.
Network = Callable[[Any], dict[str, Any]]


def compose(networks: Sequence[Network], magnitudes: Any) -> dict[str, Any]:
    """Apply one network to magnitudes, or two in a row, and return the masks.

    The second one of two gets the magnitudes that the first one's accompaniment mask lets through. Its masks share
    that mask out; what it still takes for vocals joins other. So the masks go on adding up to one.
    """
    first, *others = networks
    masks = first(magnitudes)
    if not others:
        return masks
    (second,) = others
    left = masks["accompaniment"]
    shares = second(magnitudes * left)
    shares["other"] = shares["other"] + shares.pop("vocals")
    return {"vocals": masks["vocals"]} | {stem: left * share for stem, share in shares.items()}
