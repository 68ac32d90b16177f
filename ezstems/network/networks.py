"""The networks in memory: which weights each number of stems uses, loaded at first use, let go when nobody asks."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from time import monotonic
from typing import Any

from ezstems.network import memory
from ezstems.network.choice import check, open_engine
from ezstems.network.cpu import lower_priority
from ezstems.network.engine import Engine
from ezstems.weights import folders
from ezstems.weights.folders import Weights

logger = getLogger(__name__)

Key = tuple[int, str]  # a number of stems and a cutoff
Waiting = Callable[[], None]  # called now and then while another loads: whoever calls it is alive
LOOK_EVERY_SECONDS = 0.5
LONGEST_LOAD_SECONDS = 300.0  # a hundred times an honest one; longer, nobody who waits for it is alive


@dataclass
class Resident:
    """Hold one loaded network, how many separations use it, and when the last one ended."""

    engine: Engine
    users: int = 0
    used_at: float = 0.0


class Networks:
    """Load the networks that the settings mean, each when it is first used."""

    def __init__(
        self,
        models_directory: Path,
        model: str,
        engine: str,
        precision: str,
        idle_seconds: float,
    ) -> None:
        """Remember the settings; nothing is loaded. Raises ConfigurationError for an engine or precision unknown."""
        check(engine, precision)
        self._models_directory = models_directory
        self._model = model
        self._engine = engine
        self._precision = precision
        self._idle_seconds = idle_seconds
        self._chosen: dict[int, Weights] = {}
        self._residents: dict[Key, Resident] = {}
        self._latest: Key | None = None
        self._lock = threading.Lock()  # of the residents; never held while one loads
        self._loading = threading.Lock()
        memory.tune_allocator()

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings and choices, for another process, which has its own locks and loads its own networks."""
        return vars(self) | {"_residents": {}, "_latest": None, "_lock": None, "_loading": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _loading=threading.Lock())
        memory.tune_allocator()

    def weights(self, stems: int) -> Weights:
        """Return the weights of a number of stems; raise ModelMissing where there are none."""
        # Chosen once: what is named as in use must be what is in use, also after better ones were fetched beside it.
        if stems not in self._chosen:
            self._chosen[stems] = folders.find(self._model, stems, self._models_directory)
        return self._chosen[stems]

    @contextmanager
    def use(self, stems: int, cutoff: str, waiting: Waiting = lambda: None) -> Iterator[Engine]:
        """Lend the network of a number of stems and a cutoff, loading it first where it isn't here."""
        resident = self._enter((stems, cutoff), waiting)
        try:
            yield resident.engine
        finally:
            with self._lock:
                resident.users -= 1
                resident.used_at = monotonic()
                self._drop_others()

    def drop_idle(self) -> None:
        """Let go of the networks that nobody has used for the idle time, and give their memory back."""
        with self._lock:
            since = monotonic() - self._idle_seconds
            idle = [key for key, one in self._residents.items() if not one.users and one.used_at <= since]
            self._drop(idle)
        if idle:
            logger.info("let go of %s after %g idle seconds", _names(idle), self._idle_seconds)

    def _enter(self, key: Key, waiting: Waiting) -> Resident:
        with self._lock:
            if resident := self._found(key):
                return resident
        stems, cutoff = key
        deadline = monotonic() + LONGEST_LOAD_SECONDS
        while not self._loading.acquire(timeout=LOOK_EVERY_SECONDS):
            if monotonic() < deadline:
                waiting()
        try:
            with self._lock:
                if resident := self._found(key):  # loaded while this thread waited
                    return resident
                self._latest = key
                self._drop_others()
            found, started = self.weights(stems), monotonic()
            # An engine's threads are as nice as their maker.
            with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
                engine = pool.submit(open_engine, self._engine, self._precision, found, cutoff).result()
            how = f"{engine.name}, {engine.precision}"
            logger.info("loaded %s for %s in %.1f s: %s", found.label, cutoff, monotonic() - started, how)
            with self._lock:
                resident = self._residents[key] = Resident(engine, users=1)
            return resident
        finally:
            self._loading.release()

    def _found(self, key: Key) -> Resident | None:
        resident = self._residents.get(key)
        if resident is not None:
            resident.users += 1
            self._latest = key
        return resident

    def _drop_others(self) -> None:
        """Let go of what loads in no time and isn't the latest: beside it, it would only cost memory."""
        others = [(key, one) for key, one in self._residents.items() if key != self._latest]
        self._drop([key for key, one in others if one.engine.quick and not one.users])

    def _drop(self, keys: list[Key]) -> None:
        for key in keys:
            del self._residents[key]
        if keys:
            memory.return_freed_memory()


def _names(keys: list[Key]) -> str:
    return ", ".join(f"{stems} stems for {cutoff}" for stems, cutoff in keys)
