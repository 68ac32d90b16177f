"""Where an instance lies that nobody named a folder for."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ezstems.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[1]  # of a checkout, or what packages are installed in


def default_folder(environ: Mapping[str, Any] = os.environ) -> Path:
    """Return `instance/` in a checkout; of an installed package, what its next version doesn't take away."""
    if (ROOT / "setup.cfg").is_file():
        return ROOT / "instance"
    data = Path(environ.get("XDG_DATA_HOME", ""))
    if data.is_absolute():  # what isn't counts for nothing, says the XDG Base Directory Specification
        return data / "ezstems"
    try:
        return Path.home() / ".local" / "share" / "ezstems"
    except RuntimeError as error:
        raise ConfigurationError("EZSTEMS_INSTANCE must name the folder of all state: this user has no home") from error
