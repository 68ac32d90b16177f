"""The exports of one process: finished stems mixed anew by a child, so many at a time."""

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from flask import Flask

from ezstems.audio import stem_file
from ezstems.audio.mixing import Mix, Mixing, Source
from ezstems.disk import full_error, raising_server_full
from ezstems.errors import EncodingFailed, ServerBusy
from ezstems.jobs.opened import Opened
from ezstems.jobs.scratch import Scratch
from ezstems.jobs.storage import SCRATCH
from ezstems.models import Job

log = logging.getLogger(__name__)

# Each takes a processor core, at low priority, and a request's thread as long as its client takes it.
MOST, MOST_OF_ACCOUNT = 4, 2
RETRY_AFTER_SECONDS = 15
COPY_BYTES = 1 << 20
OpenStem = Callable[[Job, str], Opened]
BUSY = "The server makes as many exports as it can at a time. Try again in a few seconds."
BUSY_ACCOUNT = f"Only {MOST_OF_ACCOUNT} exports of an account are made at a time. Try again when one has ended."


@contextmanager
def _logging_failure(job_id: str) -> Iterator[None]:
    try:
        yield
    except EncodingFailed as error:
        log.error("job %s: an export failed: %s", job_id, error.__cause__ or error, extra={"job_id": job_id})
        raise


class Export:
    """Hold what is sent of an export, and let go of all that it took."""

    def __init__(self, job_id: str, blocks: Iterable[bytes], held: ExitStack, size_bytes: int | None = None) -> None:
        self._job_id = job_id
        self.size_bytes = size_bytes
        self._blocks, self._held = blocks, held

    def __iter__(self) -> Iterator[bytes]:
        """Yield its bytes; raise EncodingFailed before the end of one that isn't whole."""
        with _logging_failure(self._job_id):
            yield from self._blocks
        self.close()  # its place is free before a slow client has taken the end

    def close(self) -> None:
        """End its child and give back its place; harmless when that was done."""
        self._held.close()


class Exports:
    """Make exports, a bounded number at a time."""

    def __init__(self, app: Flask, owner: str, has_room: Callable[[int], bool], open_stem: OpenStem) -> None:
        self._scratch = Scratch(Path(app.instance_path) / SCRATCH, f"{owner}.exports")
        self._has_room, self._open_stem = has_room, open_stem
        self._running: Counter[int] = Counter()
        self._lock = threading.Lock()

    def mix(self, job: Job, mix: Mix, wished: str) -> Export:
        """Begin to mix a completed job's stems.

        Raises:
            ServerBusy: as many exports are being made as may be.
            EncodingFailed: the child could not begin.
        """
        with ExitStack() as held:
            held.enter_context(self._place_for(job.user_id))
            opened = [held.enter_context(self._open_stem(job, name)) for name in mix.gains]
            sources = held.enter_context(self._on_this_box(opened))
            with _logging_failure(job.id):
                mixing = Mixing(sources, job.output, mix, job.samples or 0, wished)
            held.callback(mixing.close)
            return Export(job.id, mixing, held.pop_all(), mixing.size_bytes)

    def stem_file(self, job: Job, stems: Sequence[str], is_awaited: Callable[[], bool]) -> Export:
        """Make a Stems file of a completed job's stems, in a file without a name.

        Raise as `mix` does, and Interrupted where nobody waits for it any more.
        """
        with ExitStack() as held:
            held.enter_context(self._place_for(job.user_id))
            opened = [held.enter_context(self._open_stem(job, name)) for name in stems]
            samples = job.samples or 0
            if not self._has_room(stem_file.size_bytes(samples)):
                raise full_error()
            with raising_server_full():
                file = held.enter_context(TemporaryFile(dir=self._scratch.path("")))
            with self._on_this_box(opened) as sources, _logging_failure(job.id):
                named = dict(zip(stems, sources, strict=True))
                stem_file.write(named, job.output, samples, file, is_awaited)
            return Export(job.id, stem_file.with_atom(file), held.pop_all())

    @contextmanager
    def _place_for(self, user_id: int) -> Iterator[None]:
        with self._lock:
            if self._running[user_id] >= MOST_OF_ACCOUNT:
                raise ServerBusy(BUSY_ACCOUNT, RETRY_AFTER_SECONDS)
            if self._running.total() >= MOST:
                raise ServerBusy(BUSY, RETRY_AFTER_SECONDS)
            self._running[user_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= Counter({user_id: 1})  # which forgets an account that has none left

    @contextmanager
    def _on_this_box(self, stems: Sequence[Opened]) -> Iterator[list[Source]]:
        """Lend stems as places in files: their ZIP's own, or, of an object store, a copy that goes with the export."""
        places = [stem.place() for stem in stems]
        with ExitStack() as copies:
            if None in places:
                if not self._has_room(sum(stem.size_bytes for stem in stems)):
                    raise full_error()
                folder = copies.enter_context(self._scratch.lend(uuid.uuid4().hex))
                with raising_server_full():
                    places = [(_copied(stem, folder / str(number)), 0) for number, stem in enumerate(stems)]
            yield [
                Source(place[0], place[1], place[1] + stem.size_bytes)
                for place, stem in zip(places, stems, strict=True)
                if place is not None
            ]


def _copied(stem: Opened, path: Path) -> Path:
    with path.open("wb") as file:
        while block := stem.read(COPY_BYTES):
            file.write(block)
    return path
