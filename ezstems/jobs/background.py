"""The background threads of a worker, beside its separations: one loads the engine, one keeps house."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from ezstems.database_server import is_away

log = logging.getLogger(__name__)

# What can't be loaded (memory that others use, a file that is being replaced) may be loadable a while later.
LOAD_AGAIN_SECONDS = 60.0


class EngineLoader:
    """Load the engine of one worker at its start, again and again until that works; `failed` is of the last try."""

    def __init__(self, worker: str, stop: threading.Event, load: Callable[[], None]) -> None:
        self.failed = False
        self._worker = worker
        self._stop = stop
        self._load = load

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="prepare", daemon=True).start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._load()
            except BaseException:
                self.failed = True
                log.exception("worker %s: the engine could not be loaded and will be tried again", self._worker)
                self._stop.wait(LOAD_AGAIN_SECONDS)
            else:
                if self.failed:
                    log.info("worker %s: the engine is loaded", self._worker)
                self.failed = False
                return


class Housekeeper:
    """Do the duties of one worker every few seconds until it stops, each whatever becomes of the others."""

    def __init__(self, worker: str, stop: threading.Event, duties: Sequence[Callable[[], None]]) -> None:
        self.waited_seconds = 0.0  # before the present round
        self._worker = worker
        self._stop = stop
        self._duties = duties
        self._thread: threading.Thread | None = None

    def start(self, every_seconds: float) -> None:
        """Start the thread; its first round is after so many seconds."""
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
                except BaseException as error:
                    if is_away(error):
                        continue
                    log.exception("worker %s: housekeeping failed and will be tried again", self._worker)
