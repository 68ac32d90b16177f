"""The networks that are measured: of the official size, with random weights."""

import subprocess
import sys
from pathlib import Path

from ezstems.audio.separate import STEMS
from tests.benchmarks.table import tell
from tests.support.servers import ROOT


def require(models: Path) -> None:
    """Make what the folder lacks of 2, 4 and 5 stems."""
    for stems in STEMS:
        if not (models / f"{stems}stems").exists():
            tell(f"making a network of {stems} stems")
            # In a process of its own: TensorFlow's memory and threads stay out of this one.
            code = "import sys; from pathlib import Path; from tests.support.checkpoints import make; "
            code += "make(Path(sys.argv[1]), int(sys.argv[2]))"
            command = [sys.executable, "-c", code, str(models), str(stems)]
            subprocess.run(command, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
