"""The app with a separator that needs no TensorFlow, for tests of a real gunicorn.

A song takes FAST_SECONDS, and no end while the instance folder holds a file `hold`; one of FAST_KILL stems kills the
process, one of FAST_DEAF stems heeds no stop for a minute. A stranger is waited for FAST_PATIENCE seconds. Every
answer names its worker process in X-Worker.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

from flask import Response

from ezstems import create_app
from ezstems.audio.separate import Separation
from ezstems.web import patience
from tests.separators import FastSeparator


class Gate:
    """Be open while there is no file `hold`."""

    def is_set(self) -> bool:
        """Tell whether separations may end."""
        return not (Path(app.instance_path) / "hold").exists()


class DeadlySeparator(FastSeparator):
    """Separate at once, when the test allows it, or die."""

    def __call__(self, source: Path, directory: Path, *, stems: int, **options: Any) -> Separation:
        if str(stems) == os.environ.get("FAST_KILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        if str(stems) == os.environ.get("FAST_DEAF"):
            time.sleep(60)
        return super().__call__(source, directory, stems=stems, **options)


separator = DeadlySeparator(float(os.environ.get("FAST_SECONDS", "0")))
separator.gate = Gate()  # type: ignore[assignment]
app = create_app({"SEPARATOR": separator})
patience.STRANGER = float(os.environ.get("FAST_PATIENCE", patience.STRANGER[0])), patience.STRANGER[1]


@app.after_request
def name_worker(response: Response) -> Response:
    """Say which process answers."""
    response.headers["X-Worker"] = str(os.getpid())
    return response
