"""What the processes that share the tests make once: the first makes it, the others wait."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ezstems.files import exclusive_lock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder of this session that one of its processes has let `make` fill."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / f"shared-{name}"
    with exclusive_lock(shared / f"{name}.lock"):
        if not folder.exists():
            fresh = factory.mktemp(name)
            make(fresh)
            fresh.rename(folder)
    return folder
