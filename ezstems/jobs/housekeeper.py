"""The housekeeper: a thread that comes round every few seconds and does its duties, whatever becomes of each."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)


class Housekeeper:
    """Do the duties of one worker until it stops."""

    def __init__(self, worker: str, stop: threading.Event, duties: Sequence[Callable[[], None]]) -> None:
        self.waited_seconds = 0.0  # before the present round
        self._worker = worker
        self._stop = stop
        self._duties = duties
        self._thread: threading.Thread | None = None

    def start(self, every_seconds: float) -> None:
        """Come round for the first time after so many seconds."""
        self._thread = threading.Thread(target=self._run, args=(every_seconds,), name="housekeeping", daemon=True)
        self._thread.start()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the round under way, once the worker stops."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _run(self, every_seconds: float) -> None:
        while True:
            began = time.monotonic()
            if self._stop.wait(every_seconds):
                return
            self.waited_seconds = time.monotonic() - began
            for duty in self._duties:
                try:
                    duty()
                except BaseException:
                    log.exception("worker %s: housekeeping failed and will be tried again", self._worker)
