"""Previews among an instance folder's results (a `PreviewFiles`)."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ezstems.files import sync
from ezstems.jobs.names import PART
from ezstems.jobs.opened import Opened, OpenedFile
from ezstems.models import Files


class FolderPreviews:
    """Keep them among an instance folder's results."""

    def __init__(self, results: Path, owner: str) -> None:
        self._results, self._owner = results, owner

    def path(self, job_id: str) -> Path:
        """Return where a job's previews lie."""
        return self._results / f"{job_id}.previews"

    @contextmanager
    def workspace(self, job: Files) -> Iterator[Path]:
        """Lend a folder beside the results."""
        folder = self._results / f"{self._owner}.{job.id}.previews{PART}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, job: Files, path: Path) -> None:
        """Rename it, once its bytes are on the disk."""
        sync(path)
        path.replace(self.path(job.id))
        sync(self._results)

    def open(self, job: Files) -> Opened:
        """Open the file."""
        return OpenedFile(self.path(job.id))

    def remove(self, job: Files) -> None:
        """Delete the file."""
        self.path(job.id).unlink(missing_ok=True)
