"""`ezstems separate` as whoever installed EzStems runs it: the figures judge the product, not the recipe's networks."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import wavfile


def separate(files: Sequence[Path], stems: int, models: Path | None, directory: Path, instance: Path) -> None:
    """Separate files with the bundled model, or with those in `models`, into `directory/<name of file>/<stem>.wav`.

    Models of one's own take the place of the official ones, which are found and loaded as the bundled ones are.
    """
    settings = {"EZSTEMS_INSTANCE": str(instance), "EZSTEMS_MODEL": "builtin"}
    if models is not None:
        settings |= {"EZSTEMS_MODELS": str(models), "EZSTEMS_MODEL": "official"}
    command = [str(Path(sys.executable).with_name("ezstems")), "separate", "--stems", str(stems)]
    command += ["--directory", str(directory), *map(str, files)]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ezstems separate ended with {done.returncode}: {done.stderr}")


def read_wav(path: Path) -> np.ndarray:
    """Return the samples of a stem, int16 (samples, 2)."""
    return wavfile.read(path)[1]
