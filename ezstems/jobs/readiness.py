"""Whether the engine is ready: it is loaded in the background at the start, again and again until that works."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

# What can't be loaded (memory that others use, a file that is being replaced) may be loadable a while later.
AGAIN_SECONDS = 60.0


class Readiness:
    """Prepare the engine of one worker; `broken` tells that the last try failed."""

    def __init__(self, worker: str, stop: threading.Event, prepare: Callable[[], None]) -> None:
        self.broken = False
        self._worker = worker
        self._stop = stop
        self._prepare = prepare

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="prepare", daemon=True).start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._prepare()
            except BaseException:
                self.broken = True
                log.exception("worker %s: the engine could not be loaded and will be tried again", self._worker)
                self._stop.wait(AGAIN_SECONDS)
            else:
                if self.broken:
                    log.info("worker %s: the engine is loaded", self._worker)
                self.broken = False
                return
