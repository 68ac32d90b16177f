"""Fetch Deezer's official weights: one archive a number of stems, downloaded, checked, unpacked beside and renamed.

    <models>/2stems.tar.gz.part   what has arrived so far; the next try goes on from there
    <models>/2stems.tar.gz.etag   which version of the archive that was
    <models>/.2stems.new          unpacked, not yet a model
    <models>/2stems               complete, or what was there before

Nothing else is ever seen at the last place, however the process ends.
"""

import errno
import fcntl
import hashlib
import shutil
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path, PurePosixPath

from ezstems.audio import swap, weights
from ezstems.audio.download import UNPACKED_RATIO, Download, Progress, check_space
from ezstems.audio.files import sync, turn
from ezstems.errors import BadInput, FetchFailed

logger = getLogger(__name__)

BASE_URL = "https://github.com/deezer/spleeter/releases/download/v1.4.0"
UNPACKED_LIMIT_BYTES = 2 << 30
LOCK = ".fetch.lock"
MEMBERS_LIMIT = 100  # the official archives hold four files, and what macOS adds to them


@dataclass(frozen=True)
class Archive:
    """Name one of the release's archives and the SHA-256 that it must have."""

    name: str
    sha256: str


ARCHIVES: dict[int, Archive] = {
    2: Archive("2stems.tar.gz", "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692"),
    4: Archive("4stems.tar.gz", "3adb4a50ad4eb18c7c4d65fcf4cf2367a07d48408a5eb7d03cd20067429dfaa8"),
    5: Archive("5stems.tar.gz", "25a1e87eb5f75cc72a4d2d5467a0a50ac75f05611f877c278793742513cc7218"),
}


def _silent(done_bytes: int, total_bytes: int | None) -> None:
    pass


def fetch(
    stems: int,
    models_directory: Path,
    *,
    base_url: str = BASE_URL,
    progress: Progress = _silent,
    connect_timeout_seconds: float = 5.0,
) -> bool:
    """Put the official weights of `stems` in place; return False where they were complete already.

    `progress` is told the bytes that have arrived and the archive's size, None where the server doesn't say.
    A process that finds another one fetching waits for it. Raises FetchFailed.
    """
    if stems not in ARCHIVES:
        raise BadInput(f"stems={stems!r} must be 2, 4 or 5")
    folder = models_directory / f"{stems}stems"
    if _complete(stems, folder):
        return False
    archive = ARCHIVES[stems]
    url = f"{base_url}/{archive.name}"
    part = models_directory / f"{archive.name}.part"
    etag = models_directory / f"{archive.name}.etag"
    try:
        models_directory.mkdir(parents=True, exist_ok=True)
        with turn(models_directory / LOCK):
            swap.recover(folder)
            if _complete(stems, folder):
                return False
            if not part.exists() or _sha256(part) != archive.sha256:
                Download(archive.name, url, part, etag, progress, connect_timeout_seconds).run()
                _check(archive, part)
            _install(archive.name, stems, part, folder)
            part.unlink()
            etag.unlink(missing_ok=True)
    except OSError as error:
        logger.info("fetching %s into %s: %r", archive.name, models_directory, error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            part.unlink(missing_ok=True)
            raise FetchFailed(f"the disk filled up while {archive.name} was fetched; start again with more") from error
        where = error.filename or models_directory
        raise FetchFailed(f"{archive.name} can't be written: {where}: {error.strerror}") from error
    logger.info("fetched the official %sstems weights", stems)
    return True


def recover(models_directory: Path) -> None:
    """Put back the weights that a fetch was killed in the middle of replacing, unless one is at work now."""
    with suppress(OSError), (models_directory / LOCK).open("r") as lock:  # none: nobody has ever fetched
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for stems in ARCHIVES:
            swap.recover(models_directory / f"{stems}stems")


def _complete(stems: int, folder: Path) -> bool:
    try:
        weights.load("official", stems, folder)
    except weights.Incomplete:
        return False
    return True


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(archive: Archive, part: Path) -> None:
    got = _sha256(part)
    if got != archive.sha256:
        part.unlink()
        raise FetchFailed(
            f"what was downloaded is not the official {archive.name}: its SHA-256 is {got}, "
            f"expected {archive.sha256}; it was deleted"
        )


def _install(name: str, stems: int, part: Path, folder: Path) -> None:
    """Unpack the archive beside `folder`, see that it is a whole model, and put it in `folder`'s place at once."""
    check_space(name, folder.parent, UNPACKED_RATIO * part.stat().st_size)
    fresh = swap.fresh(folder)
    swap.remove(fresh)
    fresh.mkdir()
    try:
        _unpack(part, fresh)
        weights.load("official", stems, fresh)
        (fresh / ".probe").write_text("OK")  # Spleeter's own mark of a finished download
        for path in (*fresh.iterdir(), fresh):
            sync(path)
    except weights.Incomplete as error:
        part.unlink()
        swap.remove(fresh)
        raise FetchFailed(f"{name} was refused: {error}") from error
    except BaseException:
        swap.remove(fresh)
        raise
    swap.put(folder)


def _unpack(part: Path, folder: Path) -> None:
    """Write the archive's files into `folder`; raise weights.Incomplete for an archive that isn't plain files.

    Only contents are taken from the archive, never a path, an owner or a mode, so nothing is left for tarfile's
    extraction filters to refuse (Python 3.11.2, Debian 12's, has none).
    """
    seen: set[str] = set()
    unpacked_bytes = 0
    try:
        with tarfile.open(part, "r|gz") as archive:
            for count, member in enumerate(archive, start=1):
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise weights.Incomplete(f"its member {member.name!r} leads out of its folder")
                if not (member.isreg() or member.isdir()):
                    raise weights.Incomplete(f"its member {member.name!r} is neither a file nor a folder")
                unpacked_bytes += member.size
                if count > MEMBERS_LIMIT or unpacked_bytes > UNPACKED_LIMIT_BYTES:
                    raise weights.Incomplete("it holds far more than a model")
                if member.isdir() or len(path.parts) != 1 or path.name.startswith("._"):
                    continue  # a model's files lie at the top level; `._*` is what macOS adds to each
                if path.name in seen:
                    raise weights.Incomplete(f"it holds {path.name!r} twice")
                seen.add(path.name)
                content = archive.extractfile(member)
                assert content is not None  # None is for members that are no files
                with (folder / path.name).open("xb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        logger.info("unpacking %s: %r", part, error)
        raise weights.Incomplete("it is not a whole tar.gz archive") from error
