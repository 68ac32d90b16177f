"""The archive: where uploads and results are kept, as everybody but the archives themselves sees it.

There are two, `FolderArchive` in the instance folder and `StoreArchive` in an object store. A file's place is a path to
the one and a key to the other; whoever else holds one gives it back as it is, or tells its name.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePath
from typing import Any, Protocol

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from ezstems.audio.peaks import Peaks
from ezstems.jobs.incoming import Incoming
from ezstems.jobs.opened import Opened
from ezstems.jobs.preview_files import PreviewFiles
from ezstems.models import Files, Job

UPLOADS, RESULTS, LOST = "uploads", "results", "lost"
Place = PurePath


@dataclass(frozen=True)
class LostFile:
    """Describe a lost file: where it lies, where it came from, its size, and when it was lost."""

    path: Place
    home: Place
    size_bytes: int
    since: datetime


class Lost(Protocol):
    """Keep the files that no row names."""

    @property
    def folder(self) -> Any:
        """Return where they lie, for the operator."""
        ...

    def put_aside(self, path: Place, now: datetime) -> bool:
        """Put a file aside, as lost now; return False where it is gone, or can't be moved and stays."""
        ...

    def files(self) -> Iterable[LostFile]:
        """Yield the lost files."""
        ...

    def take_back(self, home: Place, size_bytes: int | None, files: Iterable[LostFile] | None = None) -> bool:
        """Move the newest file from a home back there, one of this size where that is known; False without one."""
        ...

    def set_since(self, file: LostFile, since: datetime) -> None:
        """Set the time at which a file was lost, where the box's clock says that."""
        ...

    def delete(self, file: LostFile) -> None:
        """Delete a file for good."""
        ...


class Archive(Protocol):
    """Keep uploads and results; whatever can't be reached raises ServerFull or its kind, never that it is damaged."""

    @property
    def lost(self) -> Lost:
        """Return the files that no row names."""
        ...

    @property
    def previews(self) -> PreviewFiles:
        """Return the files of jobs' previews, which a job may lack; they go with its result."""
        ...

    @property
    def is_shared(self) -> bool:
        """Tell whether other boxes keep house in it, too."""
        ...

    def belongs_to(self, ids: Collection[str]) -> bool:
        """Tell whether the files are still those of an instance with one of some ids."""
        ...

    def free_bytes(self) -> int:
        """Return the free space of the disk that fills up first; 0 where it is away."""
        ...

    def obstacle(self) -> str | None:
        """Say, for the log, why nothing can be kept now; None where it can."""
        ...

    def away_error(self) -> Exception:
        """Return the error for a caller who is refused by the obstacle."""
        ...

    def can_read_uploads(self) -> bool:
        """Tell whether the uploads are there and can be read."""
        ...

    def new_upload(self) -> Incoming:
        """Open a new upload, which has no final name yet."""
        ...

    def hand_in(self, incoming: Incoming, extension: str) -> str | None:
        """Bring a whole and checked upload to where it will stay, before its row; return the key to note there."""
        ...

    def store_upload(self, incoming: Incoming, job: Files) -> None:
        """Give an upload its final name, durably, while its row is being written."""
        ...

    def hand_in_again(self, kept: Files, extension: str) -> str | None:
        """Hand in a copy of a kept upload, where it takes one; raise FileNotFoundError where that is gone."""
        ...

    def link_upload(self, kept: Files, job: Files) -> None:
        """Give another job a kept upload, whose content stays until neither needs it; as `store_upload`."""
        ...

    def withdraw(self, key: str | None) -> None:
        """Delete what was handed in under a key, whose row was not to be."""
        ...

    def lend_source(self, job: Job, progress: Callable[[], None]) -> AbstractContextManager[Path]:
        """Lend a job's upload as a local file; raise DamagedFile unless it is as it came in."""
        ...

    def has_source(self, job: Files) -> bool:
        """Tell whether a job's upload is kept."""
        ...

    def workspace(self, job: Files) -> AbstractContextManager[Path]:
        """Lend a folder for a job's stems, and delete it in the end."""
        ...

    def pack(
        self, job: Files, stems: Iterable[Path], comment: str, peaks: Peaks, progress: Callable[[], None] = ...
    ) -> int:
        """Move finished stems into the job's ZIP and keep it with their peaks; return the ZIP's size in bytes."""
        ...

    def open_result(self, job: Job) -> Opened:
        """Open a completed job's ZIP; raise DamagedFile where it isn't there, or as long as it was packed."""
        ...

    def open_peaks(self, job: Files) -> Opened:
        """Open the peaks of a job's stems, as JSON; raise FileNotFoundError: a job older than these has none."""
        ...

    def remove_source(self, job: Files) -> None:
        """Delete a job's upload."""
        ...

    def remove_result(self, job: Files) -> None:
        """Delete a job's ZIP, peaks and previews."""
        ...

    def remove(self, job: Files) -> None:
        """Delete all files of a job."""
        ...

    def remove_unfinished(self, owner: str) -> None:
        """Delete what a dead owner was writing."""
        ...

    def places_of(self, job: Files) -> Collection[Place]:
        """Return the places that a job's files may have, whatever its state."""
        ...

    def needed_places(self, job: Job) -> dict[Place, int | None]:
        """Return the places of the files that a job must have now, each with its size where that is known."""
        ...

    def row_key(self, place: Place) -> tuple[InstrumentedAttribute[Any], str]:
        """Return the column, and its value there, by which the row is found that may name a file."""
        ...

    def finished_before(self, clocks: Iterable[datetime], age: timedelta) -> Iterator[Place]:
        """Yield the finished files that are older than an age by all of some clocks, or as far in the future."""
        ...

    def delete(self, place: Place) -> None:
        """Delete one file."""
        ...

    def damaged(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, str, BaseException]]:
        """Yield what of some completed jobs isn't there, or whole: the job, RESULT or KEPT, and what is wrong."""
        ...


def row_condition(archive: Archive, place: Place) -> ColumnElement[bool]:
    """Return the condition by which the row is found that may name a file."""
    column, value = archive.row_key(place)
    return column == value
