"""Lost objects, which no row names: copied to `lost/` inside the store, and back."""

import logging
import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import PurePath

from ezstems.errors import StorageAway
from ezstems.jobs.archive import LOST, LostFile, Place
from ezstems.jobs.bucket import Bucket

log = logging.getLogger(__name__)

_SUFFIX = re.compile(r"~[0-9a-f]{8}$")


class StoreLost:
    """Keep lost objects (as `Lost`); when one was lost, the store's own time of its copy says."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.folder = f"{bucket.url}/{LOST}"

    def put_aside(self, path: Place, now: datetime) -> bool:
        """Move an object of a home aside under a name of its own; return False where it is gone, or stays."""
        aside = PurePath(LOST, f"{path}~{uuid.uuid4().hex[:8]}")
        if not self._move(path, aside):
            return False
        log.warning("%s, which no job names, was put aside: it is now %s", path, aside)
        return True

    def files(self) -> Iterator[LostFile]:
        """Yield the lost objects."""
        for stored in self._bucket.list(LOST):
            home = PurePath(_SUFFIX.sub("", str(stored.key.relative_to(LOST))))
            yield LostFile(stored.key, home, stored.size_bytes, stored.changed_at)

    def take_back(self, home: Place, size_bytes: int | None, files: Iterable[LostFile] | None = None) -> bool:
        """Move the newest object from a home back there, one of this size where that is known; False without one."""
        found = [
            file
            for file in (self.files() if files is None else files)
            if file.home == home and (file.size_bytes == size_bytes if size_bytes is not None else file.size_bytes)
        ]
        if not found or self._is_there(home):
            return False
        file = max(found, key=lambda each: each.since)
        if not self._move(file.path, home):
            return False
        log.warning("%s, which a job names, was taken back from %s", home, file.path)
        return True

    def set_since(self, file: LostFile, since: datetime) -> None:
        """Do nothing: the store's clock tells when."""

    def delete(self, file: LostFile) -> None:
        """Delete an object for good."""
        self._bucket.delete(file.path)
        log.warning("%s, which no job named since %s UTC, was deleted: %s bytes",
                    file.path, file.since, file.size_bytes)  # fmt: skip

    def _is_there(self, place: Place) -> bool:
        try:
            self._bucket.stat(place)
        except FileNotFoundError:
            return False
        return True

    def _move(self, place: Place, to: Place) -> bool:
        try:
            self._bucket.copy(place, to)
        except FileNotFoundError:
            return False
        except StorageAway as error:  # or it is larger than the store copies: it stays
            log.warning("%s could not be moved to %s: %s", place, to, error.__cause__)
            return False
        self._bucket.delete(place)
        return True
