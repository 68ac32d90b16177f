"""What keeps the previews of a job's sounds beside its ZIP, as everybody but the archives themselves sees it."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ezstems.jobs.opened import Opened
from ezstems.models import Files


class PreviewFiles(Protocol):
    """Keep one file of previews a job."""

    def workspace(self, job: Files) -> AbstractContextManager[Path]:
        """Lend a folder to make it in, and delete that in the end."""
        ...

    def keep(self, job: Files, path: Path) -> None:
        """Move the finished file from a workspace to where it stays, durably."""
        ...

    def open(self, job: Files) -> Opened:
        """Open the file; raise FileNotFoundError where there is none."""
        ...

    def remove(self, job: Files) -> None:
        """Delete the file."""
        ...
