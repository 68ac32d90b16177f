"""The archive in the instance folder.

A file is written under a name with its worker's id and `.part`, synced, then renamed: nothing is readable half-written,
and what a dead worker left is told from what a live one is writing.
"""

import glob
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from ezstems.audio.peaks import Peaks
from ezstems.disk import is_writable, raising_server_full, unwritable_error
from ezstems.files import sync
from ezstems.jobs import damage, packing
from ezstems.jobs.archive import LOST, RESULTS, UPLOADS, Place
from ezstems.jobs.damage import require_result, require_upload
from ezstems.jobs.folder_previews import FolderPreviews
from ezstems.jobs.incoming import Incoming
from ezstems.jobs.lost import LostFiles
from ezstems.jobs.mounts import Mounts
from ezstems.jobs.names import PART, finished_in, job_id_of
from ezstems.jobs.opened import Opened, OpenedFile
from ezstems.models import COMPLETED, Files, Job, utcnow

AWAY = "uploads or results are not there, or read-only, or not on the disk of their own on which they were"


class FolderArchive:
    """Keep uploads and results below an instance folder (an `Archive`)."""

    is_shared = False

    def __init__(self, instance: Path, owner: str) -> None:
        self._owner = owner
        self._folders = self._uploads, self._results = instance / UPLOADS, instance / RESULTS
        for folder in self._folders:
            with suppress(FileExistsError):  # a link to a disk that is away
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._mounts = Mounts(instance, self._folders)
        self.lost = LostFiles(instance / LOST, self._folders)
        self.previews = FolderPreviews(self._results, owner)

    def source(self, filename: str) -> Path:
        """Return where an upload lies."""
        return self._uploads / filename

    def result(self, job_id: str) -> Path:
        """Return where a job's ZIP lies once it is complete."""
        return self._results / f"{job_id}.zip"

    def peaks(self, job_id: str) -> Path:
        """Return where the peaks of a job's stems lie, as JSON, once it is complete."""
        return self._results / f"{job_id}.peaks"

    def _results_of(self, job_id: str) -> tuple[Path, ...]:
        return self.result(job_id), self.peaks(job_id), self.previews.path(job_id)

    def belongs_to(self, ids: Collection[str]) -> bool:
        """Return True: the watch over the database looks at the folder's id."""
        return True

    def free_bytes(self) -> int:
        """Return the free space of the disk of uploads or results, whichever has less; 0 where one is away."""
        try:
            return min(shutil.disk_usage(folder).free for folder in self._folders)
        except OSError:  # the disk is away, or fails
            return 0

    def obstacle(self) -> str | None:
        """Say if uploads or results aren't there, or can't be written to."""
        mode = os.W_OK | os.X_OK
        usable = all(self._mounts.is_there(folder, mode) and is_writable(folder) for folder in self._folders)
        return None if usable else AWAY

    def away_error(self) -> Exception:
        """Return the error of a disk that can't be written to."""
        return unwritable_error()

    def can_read_uploads(self) -> bool:
        """Tell whether the uploads are there and can be read."""
        return self._mounts.is_there(self._uploads, os.R_OK | os.X_OK)

    def new_upload(self) -> Incoming:
        """Open a new upload beside the others."""
        return Incoming(self._uploads / f"{self._owner}.{uuid.uuid4().hex}{PART}")

    def hand_in(self, incoming: Incoming, extension: str) -> None:
        """Do nothing: it lies where it stays, and is found by the job's name for it."""

    def store_upload(self, incoming: Incoming, job: Files) -> None:
        """Rename a finished upload to its final name, durably; raise ServerFull when the disk has no room."""
        self._place(incoming.path, job)

    def hand_in_again(self, kept: Files, extension: str) -> None:
        """Do nothing: its second name is enough."""

    def link_upload(self, kept: Files, job: Files) -> None:
        """Give the kept upload a second name, durably; raise ServerFull when the disk has no room."""
        part = self._uploads / f"{self._owner}.{uuid.uuid4().hex}{PART}"
        try:
            with raising_server_full():
                part.hardlink_to(self.source(kept.filename))
                part.touch()  # lest a sweep takes it for an old file that no row names, before its row is there
            self._place(part, job)
        finally:
            part.unlink(missing_ok=True)

    def _place(self, part: Path, job: Files) -> None:
        source = self.source(job.filename)
        job_id = job_id_of(source)
        # A file with a new job's id is of an older one, whose row the database has lost.
        for left in (source, *self._results_of(job_id)):
            self._put_aside(left)
        with raising_server_full():
            part.replace(source)
            sync(self._uploads)

    def withdraw(self, key: str | None) -> None:
        """Do nothing: nothing was handed in."""

    @contextmanager
    def lend_source(self, job: Job, progress: Callable[[], None]) -> Iterator[Path]:
        """Lend the upload itself; one that is lost is taken back first."""
        source = self.source(job.filename)
        if not source.exists():
            self.lost.take_back(source, job.size_bytes)
        require_upload(source, job.size_bytes, job.sha256)
        yield source

    def has_source(self, job: Files) -> bool:
        """Tell whether a job's upload is there."""
        return self.source(job.filename).exists()

    @contextmanager
    def workspace(self, job: Files) -> Iterator[Path]:
        """Lend a folder beside the results."""
        folder = self._results / f"{self._owner}.{job.id}{PART}"
        shutil.rmtree(folder, ignore_errors=True)
        for left in self._results_of(job.id):
            self._put_aside(left)  # by a run that ended just before its row could say so
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def pack(
        self, job: Files, stems: Iterable[Path], comment: str, peaks: Peaks, progress: Callable[[], None] = lambda: None
    ) -> int:
        """Pack under an unfinished name, then rename."""
        part, peaks_part = (self._results / f"{self._owner}.{job.id}.{kind}{PART}" for kind in ("zip", "peaks"))
        try:
            peaks_part.write_text(peaks.json())
            sync(peaks_part)
            size_bytes = packing.pack(part, stems, comment, progress)
            # The ZIP last: where it is, everything is.
            for new, place in ((peaks_part, self.peaks(job.id)), (part, self.result(job.id))):
                self._put_aside(place)
                new.replace(place)
            sync(self._results)
            return size_bytes
        finally:
            peaks_part.unlink(missing_ok=True)
            part.unlink(missing_ok=True)

    def _put_aside(self, path: Path) -> None:
        if path.exists():
            self.lost.put_aside(path, utcnow())

    def open_result(self, job: Job) -> Opened:
        """Open the ZIP; raise DamagedFile where it isn't there, or as long as it was packed."""
        path = self.result(job.id)
        require_result(path, job.result_bytes)
        return OpenedFile(path)

    def open_peaks(self, job: Files) -> Opened:
        """Open the peaks; raise FileNotFoundError without any."""
        return OpenedFile(self.peaks(job.id))

    def link(self, path: Path) -> Path:
        """Link a file under a name of this owner, which keeps its content until `remove_unfinished`."""
        held = path.with_name(f"{self._owner}.{path.name}{PART}")
        held.hardlink_to(path)
        return held

    def remove_source(self, job: Files) -> None:
        """Delete a job's upload."""
        self.delete(self.source(job.filename))

    def remove_result(self, job: Files) -> None:
        """Delete a job's ZIP, peaks and previews."""
        for path in self._results_of(job.id):
            self.delete(path)

    def remove(self, job: Files) -> None:
        """Delete all files of a job."""
        self.remove_source(job)
        self.remove_result(job)

    def remove_unfinished(self, owner: str) -> None:
        """Delete the unfinished files of an owner."""
        for folder in self._folders:
            for left in folder.glob(f"{glob.escape(owner)}.*{PART}"):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)

    def places_of(self, job: Files) -> tuple[Path, ...]:
        """Return the paths of upload, ZIP, peaks and previews."""
        return self.source(job.filename), *self._results_of(job.id)

    def needed_places(self, job: Job) -> dict[Place, int | None]:
        """Return the paths of the files that a job must have now, each with its size where that is known."""
        upload: dict[Place, int | None] = {self.source(job.filename): job.size_bytes}
        if job.status != COMPLETED:
            return upload
        rest: dict[Place, int | None] = {self.peaks(job.id): None, self.previews.path(job.id): None}
        return {self.result(job.id): job.result_bytes} | rest | (upload if job.keeps_upload else {})

    def row_key(self, place: Place) -> tuple[InstrumentedAttribute[Any], str]:
        """Find by the id, with which every name begins; it has an index, file names have none."""
        return Job.id, job_id_of(place)

    def finished_before(self, clocks: Iterable[datetime], age: timedelta) -> Iterator[Path]:
        """Yield the finished files that are older than an age by all of some clocks, or as far in the future."""
        clocks = tuple(clocks)
        for folder in self._folders:
            for path, changed in finished_in(folder):
                if all(abs(clock - changed) > age for clock in clocks):
                    yield path

    def delete(self, place: Place) -> None:
        """Delete one file."""
        Path(place).unlink(missing_ok=True)

    def damaged(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, str, BaseException]]:
        """Look at each file's size."""
        for job in jobs:
            upload = self.source(job.filename) if job.keeps_upload else None
            for what, why in damage.found(self.result(job.id), job.result_bytes, upload, job.size_bytes):
                yield job, what, why
