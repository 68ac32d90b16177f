"""The names of uploads and results in an instance folder: they begin with their job's id."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePath, PurePosixPath

from ezstems.files import changed_at
from ezstems.jobs.archive import RESULTS, UPLOADS

PART = ".part"


def is_finished_name(name: str) -> bool:
    """Tell whether a path below an instance folder is a finished upload's or result's."""
    path = PurePosixPath(name)
    in_place = len(path.parts) == 2 and path.parts[0] in (UPLOADS, RESULTS) and path.name not in (".", "..")
    return in_place and path.suffix != PART and str(path) == name


def finished_in(folder: Path) -> Iterator[tuple[Path, datetime]]:
    """Yield the finished files of a folder with the times of their last change; none where its disk is away."""
    with suppress(FileNotFoundError, PermissionError):
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # somebody deletes it at the same time
                if path.suffix != PART and path.is_file():
                    yield path, changed_at(path.stat())


def finished_files(instance: Path) -> Iterator[Path]:
    """Yield the finished uploads and results of an instance folder; it may lack the folders for them."""
    for folder in (instance / UPLOADS, instance / RESULTS):
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if path.suffix != PART and path.is_file())


def job_id_of(place: PurePath) -> str:
    """Return the id of the job that a file with a final name belongs to."""
    return "_".join(place.stem.split("_")[:2])
