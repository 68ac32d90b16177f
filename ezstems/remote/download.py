"""Fetch a result into a `.part`, resumed after a cut, and take its stems out."""

import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import requests

from ezstems.errors import RemoteFailed
from ezstems.remote.api import BROKEN, PAUSES_SECONDS, Api, Refused, printable

BLOCK_BYTES = 64 * 1024  # a block that a cut ends is lost
MAX_NAME_BYTES = 255
MAX_MEMBERS = 64
# What other systems take for a way to another folder, and for a drive's letter.
OF_PATHS = ("/", "\\", ":")

Show = Callable[[int, int | None], None]


class Damaged(RemoteFailed):
    """Say that what came is no whole ZIP."""


def download(api: Api, job_id: str, part: Path, show: Show) -> None:
    """Bring a job's ZIP to `part`; after a cut it goes on from there where the server still has the same one."""
    tag, pauses = "", iter(PAUSES_SECONDS)
    while True:
        have = part.stat().st_size if tag and part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-", "If-Range": tag} if have else {})
        try:
            with api.call("GET", "download.php", params={"id": job_id}, headers=headers, stream=True) as answer:
                told = answer.headers.get("ETag", "")
                tag = "" if told.startswith("W/") else told  # a weak one doesn't say that the bytes are the same
                _receive(answer, part, have, show)
                return
        except Refused as error:
            if error.status != 416:
                raise
            tag = ""
        except BROKEN as error:
            if part.exists() and part.stat().st_size > have:
                pauses = iter(PAUSES_SECONDS)
            pause = next(pauses, None)
            if pause is None:
                raise RemoteFailed("the connection broke again and again while the stems were downloaded") from error
            api.rest(pause, "the connection broke")


def _receive(answer: requests.Response, part: Path, have: int, show: Show) -> None:
    """Write an answer behind the `have` bytes that are there, or in their place where it is the whole ZIP."""
    if answer.status_code == 206:
        span = answer.headers.get("Content-Range", "")
        if not have or not span.startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise requests.ConnectionError(f"Content-Range={span!r} doesn't go on at {have}")
    else:
        have = 0
    length = answer.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else None
    if total is not None:
        _require_room(part.parent, total - have)
    with part.open("ab" if have else "wb") as file:
        for block in answer.iter_content(BLOCK_BYTES):
            file.write(block)
            have += len(block)
            show(have, total)
    if total is not None and have != total:
        raise requests.ConnectionError(f"{have} of {total} bytes came")


def unpack(archive: Path, folder: Path) -> tuple[list[Path], str]:
    """Write a ZIP's files into a folder, a block at a time; return them, and the ZIP's comment.

    Raises Damaged where a file isn't whole, RemoteFailed where one would lie elsewhere.
    """
    try:
        return _unpack(archive, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Damaged("what the server sent is no whole ZIP") from error
    except (NotImplementedError, RuntimeError) as error:  # a method that nobody knows, or a password
        raise RemoteFailed("the server's ZIP can't be opened here: it has a password or an unknown method") from error


def _unpack(archive: Path, folder: Path) -> tuple[list[Path], str]:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        if len(members) > MAX_MEMBERS:
            raise RemoteFailed(f"the server's ZIP holds {len(members)} files; no song has so many stems")
        for name in (names := [member.filename for member in members]):
            if not _is_plain(name) or names.count(name) > 1:
                raise RemoteFailed(f"the server's ZIP holds {printable(name)!r}, which is no name of a stem")
        _require_room(folder, sum(member.file_size for member in members))
        made = []
        for member in members:
            made.append(folder / member.filename)
            with packed.open(member) as source, made[-1].open("xb") as file:
                shutil.copyfileobj(source, file, BLOCK_BYTES)
        return made, packed.comment.decode("utf-8", "replace")


def _is_plain(name: str) -> bool:
    """Tell whether a name is a visible file's, in one folder."""
    if not name.isprintable() or any(mark in name for mark in OF_PATHS):
        return False
    return 0 < len(name.encode()) <= MAX_NAME_BYTES and name == name.strip() and not name.startswith(".")


def _require_room(folder: Path, size_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if size_bytes > free_bytes:
        needed, free = size_bytes // 1024**2, free_bytes // 1024**2
        raise RemoteFailed(f"the stems need {needed} MiB of disk, and {free} MiB are free in {folder}")
