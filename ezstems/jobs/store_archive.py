"""The archive in an object store.

An upload comes in to the box's scratch, and is put under a key of its own before its row is written; a result's keys
hold who made it, so that nobody else, once given up for dead, overwrites or deletes what the row names.
"""

import hashlib
import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path, PurePath
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from ezstems.audio.peaks import Peaks
from ezstems.errors import DamagedFile, StorageAway
from ezstems.jobs import packing, store_keys
from ezstems.jobs.archive import RESULTS, UPLOADS, Place
from ezstems.jobs.bucket import AWAY, ID, RETRY_AFTER_SECONDS, Bucket
from ezstems.jobs.damage import DAMAGED_RESULT, UPLOAD
from ezstems.jobs.incoming import Incoming
from ezstems.jobs.opened import Opened
from ezstems.jobs.patience import patiently
from ezstems.jobs.scratch import Scratch
from ezstems.jobs.store_lost import StoreLost
from ezstems.jobs.store_previews import StorePreviews
from ezstems.models import COMPLETED, Files, Job

log = logging.getLogger(__name__)

FETCH_BYTES = 8 << 20


class StoreArchive:
    """Keep uploads and results in an object store (an `Archive`)."""

    is_shared = True

    def __init__(self, bucket: Bucket, scratch: Path, owner: str) -> None:
        self._bucket, self._owner = bucket, owner
        self._scratch = Scratch(scratch, owner)
        self.lost = StoreLost(bucket)
        self.previews = StorePreviews(bucket, self._scratch, self._put)

    def belongs_to(self, ids: Collection[str]) -> bool:
        """Compare the store's id: it may have been bound to another database since."""
        try:
            return self._bucket.read(ID).decode(errors="replace").strip() in ids
        except FileNotFoundError as error:
            raise StorageAway(AWAY, RETRY_AFTER_SECONDS) from error

    def free_bytes(self) -> int:
        """Return the free space for what passes through this box."""
        return self._scratch.free_bytes()

    def obstacle(self) -> str | None:
        """Say if the store can't be reached, or the scratch folder not be written to."""
        if self._bucket.is_away():
            return "the storage can't be reached"
        return None if self._scratch.is_writable() else "the instance folder's scratch/ can't be written to"

    def away_error(self) -> Exception:
        """Return the error of a store that can't be reached."""
        return StorageAway(AWAY, RETRY_AFTER_SECONDS)

    def can_read_uploads(self) -> bool:
        """Tell whether the store can be reached."""
        return not self._bucket.is_away()

    def new_upload(self) -> Incoming:
        """Open a new upload in the scratch folder."""
        return Incoming(self._scratch.path(f"{uuid.uuid4().hex}.upload"))

    def hand_in(self, incoming: Incoming, extension: str) -> str | None:
        """Put the upload under a key of its own."""
        key = f"{uuid.uuid4().hex}.{extension}"
        self._put(PurePath(UPLOADS, key), incoming.path)
        return key

    def store_upload(self, incoming: Incoming, job: Files) -> None:
        """Delete it from the scratch folder: it lies where it stays."""
        incoming.discard()

    def hand_in_again(self, kept: Files, extension: str) -> str | None:
        """Copy the kept upload inside the store, under a key of its own; raise FileNotFoundError where it is gone."""
        key = f"{uuid.uuid4().hex}.{extension}"
        try:
            self._bucket.copy(store_keys.source(kept), PurePath(UPLOADS, key))
        except FileNotFoundError:
            self._bucket.require_there()
            raise
        return key

    def link_upload(self, kept: Files, job: Files) -> None:
        """Do nothing: the copy lies where it stays."""

    def withdraw(self, key: str | None) -> None:
        """Delete the upload again."""
        if key is not None:
            self._delete(PurePath(UPLOADS, key))

    @contextmanager
    def lend_source(self, job: Job, progress: Callable[[], None]) -> Iterator[Path]:
        """Lend a copy, whose size and checksum are compared while it is fetched."""
        with self._scratch.lend(f"{job.id}.source") as folder:
            local = folder / job.filename
            patiently(lambda: self._fetch(job, local, progress), progress)
            yield local

    def has_source(self, job: Files) -> bool:
        """Tell whether a job's upload is there."""
        try:
            self._bucket.stat(store_keys.source(job))
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def workspace(self, job: Files) -> Iterator[Path]:
        """Lend a scratch folder."""
        with self._scratch.lend(f"{job.id}.stems") as folder:
            yield folder

    def pack(
        self,
        job: Files,
        stems: Iterable[Path],
        comment: str,
        peaks: Peaks,
        progress: Callable[[], None] = lambda: None,
    ) -> int:
        """Pack in the scratch folder, then put the peaks, then the ZIP: where it is, everything is."""
        packed = self._scratch.path(f"{job.id}.zip")
        result_key, peaks_key = store_keys.results(job.id, self._owner)
        try:
            size_bytes = packing.pack(packed, stems, comment, progress)
            patiently(lambda: self._put(peaks_key, peaks.json().encode()), progress)
            patiently(lambda: self._put(result_key, packed), progress)
            return size_bytes
        finally:
            packed.unlink(missing_ok=True)

    def open_result(self, job: Job) -> Opened:
        """Open the ZIP; raise DamagedFile where it isn't there, or as long as it was packed."""
        try:
            opened = self._bucket.open(store_keys.results(job.id, job.owner)[0])
        except FileNotFoundError as error:
            self._bucket.require_there()
            raise DamagedFile(DAMAGED_RESULT) from error
        if opened.size_bytes != job.result_bytes:
            opened.close()
            raise DamagedFile(DAMAGED_RESULT) from store_keys.wrong_size(opened.size_bytes, job.result_bytes)
        return opened

    def open_peaks(self, job: Files) -> Opened:
        """Open the peaks; raise FileNotFoundError without any."""
        return self._bucket.open(store_keys.results(job.id, job.owner)[1])

    def remove_source(self, job: Files) -> None:
        """Delete a job's upload."""
        if job.upload_key is not None:
            self._delete(store_keys.source(job))

    def remove_result(self, job: Files) -> None:
        """Delete a job's ZIP, peaks and previews."""
        self._delete(*store_keys.results(job.id, job.owner), store_keys.previews(job))

    def remove(self, job: Files) -> None:
        """Delete all files of a job."""
        self.remove_source(job)
        self.remove_result(job)

    def remove_unfinished(self, owner: str) -> None:
        """Delete what any dead owner on this box was writing."""
        self._scratch.clear()

    def places_of(self, job: Files) -> Collection[Place]:
        """Return the keys of upload, ZIP, peaks and previews."""
        return store_keys.source(job), *store_keys.results(job.id, job.owner), store_keys.previews(job)

    def needed_places(self, job: Job) -> dict[Place, int | None]:
        """Return the keys of the objects that a job must have now, each with its size where that is known."""
        upload: dict[Place, int | None] = {store_keys.source(job): job.size_bytes}
        if job.status != COMPLETED:
            return upload
        result, peaks = store_keys.results(job.id, job.owner)
        rest: dict[Place, int | None] = {peaks: None, store_keys.previews(job): None}
        return {result: job.result_bytes} | rest | (upload if job.keeps_upload else {})

    def row_key(self, place: Place) -> tuple[InstrumentedAttribute[Any], str]:
        """Find an upload by its key, a result by the id with which its key begins."""
        if place.parts[0] == UPLOADS:
            return Job.upload_key, place.name
        return Job.id, place.name.partition(".")[0]

    def finished_before(self, clocks: Iterable[datetime], age: timedelta) -> Iterator[Place]:
        """Yield the objects that are older than an age by all of some clocks, or as far in the future."""
        clocks = tuple(clocks)
        for folder in (UPLOADS, RESULTS):
            for stored in self._bucket.list(folder):
                if all(abs(clock - stored.changed_at) > age for clock in clocks):
                    yield stored.key

    def delete(self, place: Place) -> None:
        """Delete one object."""
        self._bucket.delete(place)

    def damaged(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, str, BaseException]]:
        """Look for each file and its size in a list of all; ask again for those that aren't in it."""
        return store_keys.damaged(self._bucket, jobs)

    def _put(self, place: Place, content: Path | bytes) -> None:
        if self._bucket.is_folder:  # it would be made anew where its mount is away
            self._bucket.require_there()
        self._bucket.put(place, content)

    def _fetch(self, job: Job, local: Path, progress: Callable[[], None]) -> None:
        digest, source = hashlib.sha256(), store_keys.source(job)
        try:
            opened = self._bucket.open(source, FETCH_BYTES)
        except FileNotFoundError as error:
            self._bucket.require_there()
            if not self.lost.take_back(source, job.size_bytes):
                raise DamagedFile(UPLOAD.format("lost")) from error
            opened = self._bucket.open(source, FETCH_BYTES)
        with opened, local.open("wb") as file:
            if opened.size_bytes != job.size_bytes:
                wrong = store_keys.wrong_size(opened.size_bytes, job.size_bytes)
                raise DamagedFile(UPLOAD.format("damaged")) from wrong
            while block := opened.read(FETCH_BYTES):
                digest.update(block)
                file.write(block)
                progress()
        if digest.hexdigest() != job.sha256:
            why = f"SHA-256 {digest.hexdigest()}, not {job.sha256}"
            raise DamagedFile(UPLOAD.format("damaged")) from ValueError(why)

    def _delete(self, *places: Place) -> None:
        """Delete objects whose row says so; what is left where the store is away, the sweep finds."""
        try:
            self._bucket.delete(*places)
        except StorageAway:
            log.warning("%s could not be deleted; the sweep will", ", ".join(map(str, places)))
