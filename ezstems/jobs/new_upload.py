"""The upload of a new job: handed in before its row, and given its final name while the row is written."""

from dataclasses import dataclass
from typing import Protocol

from ezstems.jobs.archive import Archive
from ezstems.jobs.incoming import Incoming
from ezstems.models import Files


class NewUpload(Protocol):
    """Bring an upload to where it will stay."""

    def hand_in(self, extension: str) -> str | None:
        """Bring it there without a name of the job's; return the key to note in the row."""
        ...

    def place(self, job: Files) -> None:
        """Give it its final name, durably."""
        ...


@dataclass(frozen=True)
class Received:
    """Bring what has come in, whole and checked."""

    archive: Archive
    incoming: Incoming

    def hand_in(self, extension: str) -> str | None:
        """Hand in what has come."""
        return self.archive.hand_in(self.incoming, extension)

    def place(self, job: Files) -> None:
        """Name what has come."""
        self.archive.store_upload(self.incoming, job)


@dataclass(frozen=True)
class Again:
    """Bring the kept upload of another job; either may be deleted first. Raise FileNotFoundError where it is gone."""

    archive: Archive
    kept: Files

    def hand_in(self, extension: str) -> str | None:
        """Hand in a copy, where a name of its own takes one."""
        return self.archive.hand_in_again(self.kept, extension)

    def place(self, job: Files) -> None:
        """Give it a second name."""
        self.archive.link_upload(self.kept, job)
