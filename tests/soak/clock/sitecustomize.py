"""Another time of day for a Python process and its children: Python imports this by its name, from PYTHONPATH.

The seconds by which the clock is wrong stand in the file that SOAK_CLOCK names, and may change at any time.
"""

import datetime
import os
import time
from pathlib import Path
from typing import Any

FILE = Path(os.environ["SOAK_CLOCK"])
TIMES = {name: getattr(time, name) for name in ("time", "time_ns", "gmtime", "localtime")}


def shifted_time() -> float:
    """Return the wrong time."""
    return TIMES["time"]() + float(FILE.read_text())


class ShiftedDatetime(datetime.datetime):
    """Take now from the wrong time."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """Return the wrong time."""
        return cls.fromtimestamp(shifted_time(), tz)


time.time = shifted_time
time.time_ns = lambda: int(shifted_time() * 1e9)
time.gmtime = lambda seconds=None: TIMES["gmtime"](shifted_time() if seconds is None else seconds)
time.localtime = lambda seconds=None: TIMES["localtime"](shifted_time() if seconds is None else seconds)
datetime.datetime = ShiftedDatetime  # type: ignore[misc]
