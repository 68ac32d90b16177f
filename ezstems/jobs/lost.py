"""What no row names: it is put aside, taken back when a row names it again, and deleted after a retention.

The database may be a new one, a restored one or the wrong one; then what it doesn't name are somebody's songs.
"""

import errno
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from ezstems.audio.files import sync

log = logging.getLogger(__name__)

# What the second and later ones of a name are called in addition: `1_2.zip`, `1_2.zip~1`.
_AGAIN = re.compile(r"~[0-9]+$")


@dataclass(frozen=True)
class LostFile:
    """Describe a file that was put aside: where it lies, where it came from, its size, and since when it lies there."""

    path: Path
    home: Path
    size_bytes: int
    since: datetime


class Lost:
    """Keep the files that no row names, in a folder a home."""

    def __init__(self, folder: Path, homes: tuple[Path, ...]) -> None:
        """Remember the folder and the homes; nothing is made before there is something to keep."""
        self.folder = folder
        self._homes = homes

    def put(self, path: Path, now: datetime) -> bool:
        """Put a file of a home aside, lost since now; False, and it stays, where that is impossible or it is gone."""
        try:
            folder = self._folder_of(path.parent)
            seconds = _seconds(now)
            os.utime(path, (seconds, seconds))  # first: where this can't be told, it must stay
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
        """Yield what lies here."""
        for home in self._homes:
            try:
                paths = sorted((self.folder / home.name).iterdir())
            except FileNotFoundError:
                continue
            except OSError as error:  # no reason to let nothing expire
                log.warning("%s can't be looked into: %s", self.folder / home.name, error.strerror)
                continue
            for path in paths:
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    yield LostFile(path, home / _AGAIN.sub("", path.name), stat.st_size, changed_at(stat))

    def take_back(self, home: Path, size_bytes: int | None, files: Iterable[LostFile] | None = None) -> bool:
        """Put the newest file that once lay there back, one of this size where that is known; False without one.

        Whoever takes many back tells which files may be it: to look through all of them takes long.
        """
        found = [
            file
            for file in (self.files() if files is None else files)
            if file.home == home and (file.size_bytes == size_bytes if size_bytes is not None else file.size_bytes)
        ]
        if not found or home.exists():
            return False
        file = max(found, key=lambda each: each.since)
        try:
            _move(file.path, home)
        except OSError as error:
            log.warning("%s could not be taken back: %s", file.path, error.strerror)
            return False
        log.warning("%s, which a job names, was taken back from %s", home.name, file.path)
        return True

    def date(self, file: LostFile, since: datetime) -> None:
        """Let a file count as lost since another time."""
        with suppress(FileNotFoundError):
            os.utime(file.path, (_seconds(since), _seconds(since)))

    def delete(self, file: LostFile) -> None:
        """Delete a file for good."""
        file.path.unlink(missing_ok=True)
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
    """Take a free name with an empty file, so that nobody else's is overwritten."""
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


def changed_at(stat: os.stat_result) -> datetime:
    """Return when a file was last changed, as the rows have their times."""
    return datetime.fromtimestamp(stat.st_mtime, timezone.utc).replace(tzinfo=None)


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=timezone.utc).timestamp()
