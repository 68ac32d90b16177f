"""The files of the jobs: the only place that knows where one lies.

A file is written under a name that ends in `.part` and bears its worker's id, synced, then renamed: nothing is
readable half-written, and what a dead worker left behind can be told from what a live one is writing.
"""

import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from ezstems.audio.files import sync
from ezstems.audio.peaks import Peaks
from ezstems.disk import full_refused
from ezstems.jobs.stem import StemFile

PART = ".part"
UPLOADS, RESULTS = "uploads", "results"
COPY_BYTES = 256 << 10  # zipfile's own blocks of 8 KiB take twice the time
SYNC_BYTES = 8 << 20


def is_final(name: str) -> bool:
    """Tell whether a path below an instance folder is a finished upload's or result's."""
    path = PurePosixPath(name)
    in_place = len(path.parts) == 2 and path.parts[0] in (UPLOADS, RESULTS) and path.name not in (".", "..")
    return in_place and path.suffix != PART and str(path) == name


def kept(instance: Path) -> Iterator[Path]:
    """Yield the finished uploads and results of an instance folder, which may lack the folders for them."""
    for folder in (instance / UPLOADS, instance / RESULTS):
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if path.suffix != PART and path.is_file())


class Incoming:
    """Take in an upload, block by block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        with full_refused():
            self._file = path.open("wb")

    def write(self, block: bytes) -> None:
        """Append a block; raise ServerFull when the disk has no room for it."""
        with full_refused():
            self._file.write(block)
        self.size_bytes += len(block)

    def finish(self) -> None:
        """Bring every byte to the disk and close; raise ServerFull when the disk has no room."""
        with full_refused():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Leave nothing behind; harmless after the file was kept."""
        with suppress(OSError):  # what can't be flushed now was to be deleted anyway
            self._file.close()
        self.path.unlink(missing_ok=True)


class Archive:
    """Keep uploads and results below an instance folder."""

    def __init__(self, instance: Path, owner: str) -> None:
        self._owner = owner
        self._uploads = instance / UPLOADS
        self._results = instance / RESULTS
        for folder in (self._uploads, self._results):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def free_bytes(self) -> int:
        """Return the free space of the disk that holds uploads and results, whichever has less; 0 without one."""
        try:
            return min(shutil.disk_usage(folder).free for folder in (self._uploads, self._results))
        except OSError:  # it isn't there, or it fails
            return 0

    def writable(self) -> bool:
        """Tell that uploads and results are there and may be written."""
        return all(os.access(folder, os.W_OK | os.X_OK) for folder in (self._uploads, self._results))

    def incoming(self) -> Incoming:
        """Open a new, nameless upload."""
        return Incoming(self._uploads / f"{self._owner}.{uuid.uuid4().hex}{PART}")

    def keep(self, incoming: Incoming, filename: str) -> None:
        """Give a finished upload its name, durably; raise ServerFull when the disk has no room."""
        with full_refused():
            incoming.path.replace(self.source(filename))
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

    def stem(self, job_id: str, name: str) -> StemFile:
        """Open one stem inside a job's ZIP; raise FileNotFoundError without a ZIP, KeyError without that stem."""
        return StemFile(self.result(job_id), name)

    @contextmanager
    def workspace(self, job_id: str) -> Iterator[Path]:
        """Lend a folder for a job's stems; it is gone afterwards, however the block ends."""
        folder = self._results / f"{self._owner}.{job_id}{PART}"
        shutil.rmtree(folder, ignore_errors=True)
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
    ) -> None:
        """Move finished stems into the job's ZIP and put their peaks beside it; call `progress` for each block.

        Finished audio doesn't deflate, so it is stored as it is, which is what `stem` relies on.
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
                        entry = zipfile.ZipInfo.from_file(stem, stem.name)
                        with stem.open("rb") as source, archive.open(entry, "w") as target:
                            while block := source.read(COPY_BYTES):
                                target.write(block)
                                progress()
                                if source.tell() % SYNC_BYTES == 0:
                                    syncs.append(disk.submit(os.fdatasync, handle.fileno()))
                        # Each stem goes as soon as it is in: the disk holds little more than one copy of the result.
                        stem.unlink()
                handle.flush()
                for pending in syncs:
                    pending.result()  # an error is told once, to whoever syncs first
                    progress()
                os.fsync(handle.fileno())
            # The ZIP last: where it is, everything is.
            peaks_part.replace(self.peaks(job_id))
            part.replace(self.result(job_id))
            sync(self._results)
        finally:
            peaks_part.unlink(missing_ok=True)
            part.unlink(missing_ok=True)

    def hold(self, path: Path) -> Path:
        """Link a file under a name of this owner; what it holds stays there until `clean`, whoever deletes the file."""
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
        """Delete what a job was packed into."""
        for path in (self.result(job_id), self.peaks(job_id)):
            path.unlink(missing_ok=True)

    def clean(self, owner: str) -> None:
        """Delete what a dead worker left half-written."""
        for folder in (self._uploads, self._results):
            for left in folder.glob(f"{owner}.*{PART}"):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)

    def finished(self, older_than: float) -> Iterator[Path]:
        """Yield the files with final names that were last changed before a time in seconds since the epoch."""
        for folder in (self._uploads, self._results):
            for entry in folder.iterdir():
                with suppress(FileNotFoundError):  # somebody deletes it at the same time
                    if entry.suffix != PART and entry.is_file() and entry.stat().st_mtime < older_than:
                        yield entry
