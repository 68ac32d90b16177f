"""Check files against their rows: an upload before its separation, a result before it is sent."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from ezstems.errors import DamagedFile

READ_BYTES = 1 << 20
RESULT, KEPT = "result", "kept upload"  # what may be damaged, in words
UPLOAD = (
    "The uploaded file was {} on the server's disk. Nothing is wrong with the file that you sent; upload it again, "
    "or ask the server's operator, who finds the reason in the log under this job's id."
)
LOST_UPLOAD = UPLOAD.format("lost")
DAMAGED_RESULT = "The stems were damaged or lost on the server's disk. Nothing is wrong with the file; upload it again."


def require_upload(path: Path, size_bytes: int, sha256: str | None) -> None:
    """Raise DamagedFile unless an upload is as it came in; an old one has no checksum."""
    try:
        with path.open("rb", buffering=0) as file:
            found_bytes = os.fstat(file.fileno()).st_size
            if found_bytes != size_bytes:
                raise DamagedFile(UPLOAD.format("damaged")) from ValueError(f"{found_bytes} bytes, not {size_bytes}")
            digest = hashlib.sha256()
            while block := file.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        kind = "lost" if isinstance(error, FileNotFoundError) else "not readable"
        raise DamagedFile(UPLOAD.format(kind)) from error
    if sha256 is not None and digest.hexdigest() != sha256:
        raise DamagedFile(UPLOAD.format("damaged")) from ValueError(f"SHA-256 {digest.hexdigest()}, not {sha256}")


def require_size(path: Path, size_bytes: int) -> None:
    """Raise DamagedFile unless an upload is there and as long as it came in."""
    try:
        found_bytes = path.stat().st_size
    except OSError as error:
        raise DamagedFile(LOST_UPLOAD) from error
    if found_bytes != size_bytes:
        raise DamagedFile(UPLOAD.format("damaged")) from ValueError(f"{found_bytes} bytes, not {size_bytes}")


def require_result(path: Path, size_bytes: int | None) -> None:
    """Raise DamagedFile unless a ZIP has the size that it was packed to; an old one's isn't known."""
    with raising_damaged_result(), path.open("rb") as file:
        found_bytes = os.fstat(file.fileno()).st_size
        if size_bytes is None:
            ZipFile(file).close()
        elif found_bytes != size_bytes:
            raise DamagedFile(DAMAGED_RESULT) from ValueError(f"{found_bytes} bytes, not {size_bytes}")


def found(
    result: Path, result_bytes: int | None, upload: Path | None, upload_bytes: int
) -> Iterator[tuple[str, BaseException]]:
    """Yield what of a completed job's result, and its upload if that is kept, isn't there or whole, and why."""
    try:
        require_result(result, result_bytes)
    except DamagedFile as error:
        yield RESULT, error.__cause__ or error
    try:
        if upload is not None:
            require_size(upload, upload_bytes)
    except DamagedFile as error:
        yield KEPT, error.__cause__ or error


@contextmanager
def raising_damaged_result() -> Iterator[None]:
    """Raise DamagedFile for whatever a ZIP raises that is damaged, lost or not readable."""
    try:
        yield
    except (OSError, BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        raise DamagedFile(DAMAGED_RESULT) from error
