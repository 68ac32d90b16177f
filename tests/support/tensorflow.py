"""TensorFlow, the reference, isn't made for every Python: tests that need it skip where it isn't installed."""

from importlib.util import find_spec
from typing import Any

import pytest

from ezstems.network import runtimes

INSTALLED = find_spec("tensorflow") is not None
REASON = "TensorFlow is not installed"
needs_tensorflow = pytest.mark.skipif(not INSTALLED, reason=REASON)
ENGINES = ("openvino", pytest.param("tensorflow", marks=needs_tensorflow))


def tensorflow() -> Any:
    """Import TensorFlow as the engine does, or skip the test that asks."""
    if not INSTALLED:
        pytest.skip(REASON)
    return runtimes.tensorflow()
