"""The files of the jobs, and where each lies, which no other module knows.

A file is written under a name with its worker's id and `.part`, synced, then renamed: nothing is readable half-written,
and what a dead worker left is told from what a live one is writing.
"""

import glob
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from ezstems.audio.peaks import Peaks
from ezstems.disk import is_writable, raising_server_full
from ezstems.files import sync, sync_bytes
from ezstems.jobs.incoming import Incoming
from ezstems.jobs.lost import LostFiles, changed_at
from ezstems.jobs.mounts import Mounts
from ezstems.jobs.zip_entry import ZipEntry
from ezstems.models import COMPLETED, Job, utcnow

PART = ".part"
UPLOADS, RESULTS = "uploads", "results"
COPY_BYTES = 256 << 10  # zipfile's own blocks of 8 KiB take twice the time
SYNC_BYTES = 8 << 20


def is_finished_name(name: str) -> bool:
    """Tell whether a path below an instance folder is a finished upload's or result's."""
    path = PurePosixPath(name)
    in_place = len(path.parts) == 2 and path.parts[0] in (UPLOADS, RESULTS) and path.name not in (".", "..")
    return in_place and path.suffix != PART and str(path) == name


def finished_files(instance: Path) -> Iterator[Path]:
    """Yield the finished uploads and results of an instance folder; it may lack the folders for them."""
    for folder in (instance / UPLOADS, instance / RESULTS):
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if path.suffix != PART and path.is_file())


class Archive:
    """Keep uploads and results below an instance folder."""

    def __init__(self, instance: Path, owner: str) -> None:
        self._owner = owner
        self._folders = self._uploads, self._results = instance / UPLOADS, instance / RESULTS
        for folder in self._folders:
            with suppress(FileExistsError):  # a link to a disk that is away
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._mounts = Mounts(instance, self._folders)
        self.lost = LostFiles(instance / "lost", self._folders)

    def free_bytes(self) -> int:
        """Return the free space of the disk of uploads or results, whichever has less; 0 where one is away."""
        try:
            return min(shutil.disk_usage(folder).free for folder in self._folders)
        except OSError:  # the disk is away, or fails
            return 0

    def writable(self) -> bool:
        """Tell whether uploads and results are there and can be written to."""
        mode = os.W_OK | os.X_OK
        return all(self._mounts.is_there(folder, mode) and is_writable(folder) for folder in self._folders)

    def can_read_uploads(self) -> bool:
        """Tell whether the uploads are there and can be read."""
        return self._mounts.is_there(self._uploads, os.R_OK | os.X_OK)

    def new_upload(self) -> Incoming:
        """Open a new upload, which has no final name yet."""
        return Incoming(self._uploads / f"{self._owner}.{uuid.uuid4().hex}{PART}")

    def store_upload(self, incoming: Incoming, filename: str) -> None:
        """Rename a finished upload to its final name, durably; raise ServerFull when the disk has no room."""
        self._place_upload(incoming.path, filename)

    def link_upload(self, kept: str, filename: str) -> None:
        """Give a kept upload a second name, durably; the content stays until both are removed.

        Raises:
            FileNotFoundError: there is none of the first name.
            ServerFull: the disk has no room.
        """
        part = self._uploads / f"{self._owner}.{uuid.uuid4().hex}{PART}"
        try:
            with raising_server_full():
                part.hardlink_to(self.source(kept))
                part.touch()  # lest a sweep takes it for an old file that no row names, before its row is there
            self._place_upload(part, filename)
        finally:
            part.unlink(missing_ok=True)

    def _place_upload(self, part: Path, filename: str) -> None:
        source = self.source(filename)
        job_id = self.job_id(source)
        # A file with a new job's id is of an older one, whose row the database has lost.
        for left in (source, self.result(job_id), self.peaks(job_id)):
            self._put_aside(left)
        with raising_server_full():
            part.replace(source)
            sync(self._uploads)

    def source(self, filename: str) -> Path:
        """Return where a job's upload lies."""
        return self._uploads / filename

    @staticmethod
    def job_id(path: Path) -> str:
        """Return the id of the job that a file with a final name belongs to."""
        return "_".join(path.stem.split("_")[:2])

    def result(self, job_id: str) -> Path:
        """Return where a job's ZIP lies once it is complete."""
        return self._results / f"{job_id}.zip"

    def peaks(self, job_id: str) -> Path:
        """Return where the peaks of a job's stems lie, as JSON, once it is complete."""
        return self._results / f"{job_id}.peaks"

    def stem(self, job_id: str, name: str) -> ZipEntry:
        """Open one stem inside a job's ZIP; raise FileNotFoundError without a ZIP, KeyError without that stem."""
        return ZipEntry(self.result(job_id), name)

    @contextmanager
    def workspace(self, job_id: str) -> Iterator[Path]:
        """Lend a folder for a job's stems, and delete it in the end."""
        folder = self._results / f"{self._owner}.{job_id}{PART}"
        shutil.rmtree(folder, ignore_errors=True)
        for left in (self.result(job_id), self.peaks(job_id)):
            self._put_aside(left)  # by a run that ended just before its row could say so
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def pack(
        self,
        job_id: str,
        stems: Iterable[Path],
        comment: str,
        peaks: Peaks,
        progress: Callable[[], None] = lambda: None,
    ) -> int:
        """Move finished stems into the job's ZIP and put their peaks beside it; return the ZIP's size in bytes.

        Calls `progress` for each block. Encoded audio doesn't deflate, so it is stored as it is: `stem` relies on that.
        """
        part, peaks_part = (self._results / f"{self._owner}.{job_id}.{kind}{PART}" for kind in ("zip", "peaks"))
        try:
            peaks_part.write_text(peaks.json())
            sync(peaks_part)
            # The disk takes what is in while the rest is copied: one sync at the end would take half as long again.
            with part.open("wb") as handle, ThreadPoolExecutor(1, thread_name_prefix="sync") as disk:
                syncs: list[Future[None]] = []
                with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
                    archive.comment = comment.encode()
                    for stem in stems:
                        # A ZIP's dates are of 1980 to 2107, whatever the clock says.
                        entry = zipfile.ZipInfo.from_file(stem, stem.name, strict_timestamps=False)
                        with stem.open("rb") as source, archive.open(entry, "w") as target:
                            while block := source.read(COPY_BYTES):
                                target.write(block)
                                progress()
                                if source.tell() % SYNC_BYTES == 0:
                                    syncs.append(disk.submit(sync_bytes, handle.fileno()))
                        # Each stem goes as soon as it is in: the disk holds little more than one copy of the result.
                        stem.unlink()
                handle.flush()
                for pending in syncs:
                    pending.result()  # the system reports an error once, to the first who syncs
                    progress()
                os.fsync(handle.fileno())
                size_bytes = handle.tell()
            # The ZIP last: where it is, everything is.
            for new, place in ((peaks_part, self.peaks(job_id)), (part, self.result(job_id))):
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

    def link(self, path: Path) -> Path:
        """Link a file under a name of this owner, which keeps its content until `remove_unfinished`."""
        held = path.with_name(f"{self._owner}.{path.name}{PART}")
        held.hardlink_to(path)
        return held

    def remove_source(self, filename: str) -> None:
        """Delete a job's upload."""
        self.source(filename).unlink(missing_ok=True)

    def remove(self, job_id: str, filename: str) -> None:
        """Delete all files of a job."""
        self.remove_source(filename)
        self.remove_result(job_id)

    def remove_result(self, job_id: str) -> None:
        """Delete a job's ZIP and peaks."""
        for path in (self.result(job_id), self.peaks(job_id)):
            path.unlink(missing_ok=True)

    def remove_unfinished(self, owner: str) -> None:
        """Delete the unfinished files of an owner."""
        for folder in self._folders:
            for left in folder.glob(f"{glob.escape(owner)}.*{PART}"):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)

    def files_of(self, job: Job) -> dict[Path, int | None]:
        """Return the paths of the files that a job must have now, each with its size where that is known."""
        upload: dict[Path, int | None] = {self.source(job.filename): job.size_bytes}
        if job.status != COMPLETED:
            return upload
        return {self.result(job.id): job.result_bytes, self.peaks(job.id): None} | (upload if job.keeps_upload else {})

    def finished_before(self, clocks: Iterable[datetime], age: timedelta) -> Iterator[Path]:
        """Yield the finished files that are older than an age by all of some clocks, or as far in the future."""
        for folder in self._folders:
            with suppress(FileNotFoundError, PermissionError):  # a disk that is away
                for entry in folder.iterdir():
                    with suppress(FileNotFoundError):  # somebody deletes it at the same time
                        if entry.suffix != PART and entry.is_file():
                            changed = changed_at(entry.stat())
                            if all(abs(clock - changed) > age for clock in clocks):
                                yield entry
