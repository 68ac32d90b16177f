"""Previews in an object store (a `PreviewFiles`)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from ezstems.jobs import store_keys
from ezstems.jobs.bucket import Bucket
from ezstems.jobs.opened import Opened
from ezstems.jobs.scratch import Scratch
from ezstems.models import Files


class StorePreviews:
    """Keep them in an object store, under a key of whose result they are of."""

    def __init__(self, bucket: Bucket, scratch: Scratch, put: Callable[[PurePath, Path], None]) -> None:
        self._bucket, self._scratch, self._put = bucket, scratch, put

    @contextmanager
    def workspace(self, job: Files) -> Iterator[Path]:
        """Lend a scratch folder."""
        with self._scratch.lend(f"{job.id}.previews") as folder:
            yield folder

    def keep(self, job: Files, path: Path) -> None:
        """Put the object."""
        self._put(store_keys.previews(job), path)

    def open(self, job: Files) -> Opened:
        """Open the object."""
        return self._bucket.open(store_keys.previews(job))

    def remove(self, job: Files) -> None:
        """Delete the object."""
        self._bucket.delete(store_keys.previews(job))
