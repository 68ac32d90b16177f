"""What names a job's files, wherever they are kept."""

from typing import Any, NamedTuple, Protocol


class Files(Protocol):
    """Name a job's files: a job, or these columns of its row."""

    @property
    def id(self) -> Any:
        """Return the job's id."""
        ...

    @property
    def filename(self) -> Any:
        """Return the upload's name."""
        ...

    @property
    def upload_key(self) -> Any:
        """Return the upload's key in an object store; None where there is none."""
        ...

    @property
    def owner(self) -> Any:
        """Return whoever runs the job, or ran it."""
        ...


class FileNames(NamedTuple):
    """Hold what names a job's files (as `Files`), whatever becomes of its row."""

    id: str
    filename: str
    upload_key: str | None
    owner: str | None
