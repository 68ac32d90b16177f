"""Lost files, which no row names: put aside, taken back when a row names them again, deleted after a retention.

The database may be new, restored or the wrong one; then the files that it doesn't name are somebody's songs.
"""

import errno
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from ezstems.files import changed_at, sync
from ezstems.jobs.archive import LostFile, Place

log = logging.getLogger(__name__)

# What the second and later ones of a name are called in addition: `1_2.zip`, `1_2.zip~1`.
_AGAIN = re.compile(r"~[0-9]+$")


class LostFiles:
    """Keep the lost files, in a folder for each home, the folder that they came from."""

    def __init__(self, folder: Path, homes: tuple[Path, ...]) -> None:
        """Hold the folder and the homes; the folder is made for the first lost file."""
        self.folder = folder
        self._homes = homes

    def put_aside(self, path: Place, now: datetime) -> bool:
        """Put a file of a home aside, as lost now; return False where it is gone, or can't be moved and stays."""
        return self._put_aside(Path(path), now)

    def _put_aside(self, path: Path, now: datetime) -> bool:
        try:
            folder = self._folder_of(path.parent)
            seconds = _seconds(now)
            os.utime(path, (seconds, seconds))  # first: a file whose time can't be set must stay
            aside = _claim(folder, path.name)
            try:
                _move(path, aside)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("%s, which no job names, could not be put aside: %s", path.name, error.strerror)
            return False
        log.warning("%s, which no job names, was put aside: it is now %s", path.name, aside)
        return True

    def files(self) -> Iterator[LostFile]:
        """Yield the lost files."""
        for home in self._homes:
            try:
                paths = sorted((self.folder / home.name).iterdir())
            except FileNotFoundError:
                continue
            except OSError as error:  # must not keep other files from being deleted
                log.warning("%s can't be looked into: %s", self.folder / home.name, error.strerror)
                continue
            for path in paths:
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    yield LostFile(path, home / _AGAIN.sub("", path.name), stat.st_size, changed_at(stat))

    def take_back(self, home: Place, size_bytes: int | None, files: Iterable[LostFile] | None = None) -> bool:
        """Move the newest file from a home back there, one of this size where that is known; return False without one.

        `files` are those to choose from: to look through all takes long, if many are taken back.
        """
        found = [
            file
            for file in (self.files() if files is None else files)
            if file.home == home and (file.size_bytes == size_bytes if size_bytes is not None else file.size_bytes)
        ]
        if not found or Path(home).exists():
            return False
        file = max(found, key=lambda each: each.since)
        try:
            _move(Path(file.path), Path(home))
        except OSError as error:
            log.warning("%s could not be taken back: %s", file.path, error.strerror)
            return False
        log.warning("%s, which a job names, was taken back from %s", home.name, file.path)
        return True

    def set_since(self, file: LostFile, since: datetime) -> None:
        """Set the time at which a file was lost."""
        with suppress(FileNotFoundError):
            os.utime(file.path, (_seconds(since), _seconds(since)))

    def delete(self, file: LostFile) -> None:
        """Delete a file for good."""
        Path(file.path).unlink(missing_ok=True)
        log.warning("%s, which no job named since %s UTC, was deleted: %s bytes",
                    file.path.name, file.since, file.size_bytes)  # fmt: skip

    def _folder_of(self, home: Path) -> Path:
        folder = self.folder / home.name
        for each in (self.folder, folder):
            if not each.is_dir():
                each.mkdir(mode=0o700, exist_ok=True)
                sync(each.parent)
        return folder


def _claim(folder: Path, name: str) -> Path:
    """Create an empty file under a free name, so that no other is overwritten."""
    for number in count():
        path = folder / (f"{name}~{number}" if number else name)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            return path
    raise AssertionError


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)  # after a power cut it lies here or there, and either is right
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Uploads, or results, lie on a disk of their own.
        part = target.with_name(f"{target.name}.part")
        try:
            shutil.copy2(source, part)
            sync(part)
            part.replace(target)
            sync(target.parent)
        finally:
            part.unlink(missing_ok=True)
        try:
            source.unlink()
        except OSError:
            target.unlink(missing_ok=True)
            raise


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=timezone.utc).timestamp()
