"""One song at a server: sent once, waited for, fetched."""

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ezstems.errors import RemoteFailed
from ezstems.remote.api import Api, Refused, printable
from ezstems.remote.download import Damaged, download, unpack
from ezstems.remote.form import Form, shown_name

BLOCK_BYTES = 1 << 20
# A song that failed, or was deleted, is sent anew under the next of its keys; after so many under one of chance.
KEYS = 8
SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 1.0, 10.0
QUEUED, PROCESSING, COMPLETED, FAILED = "queued", "processing", "completed", "failed"

# A stage's name, how much of it is done, and of how much.
Show = Callable[[str, float, float | None], None]


@dataclass
class Song:
    """Name a file, the folder of its stems, and the job that it became."""

    file: Path
    target: Path
    job: str | None = None
    is_finished: bool = False


def send(api: Api, song: Song, fields: Mapping[str, str], show: Show, *, anew: bool = False) -> None:
    """Make a job of a song, or find the one that an earlier call for the same made within a day."""
    digest = _digest(song.file, fields)
    for number in range(1, KEYS + 1):
        key = str(uuid.uuid4()) if anew or number == KEYS else f"{digest}-{number}"
        answer = api.call(
            "POST",
            "upload.php",
            open_form=lambda files: _form(files, api, song.file, fields, show),
            headers={"Idempotency-Key": key},
        )
        song.job = _text(api.body(answer), "id")
        if "Idempotent-Replayed" not in answer.headers or _is_usable(api, song.job):
            return


def wait(api: Api, song: Song, longest_seconds: int, show: Show) -> None:
    """Return when a song's job is completed; raise RemoteFailed with the server's words when it failed."""
    pause = SHORTEST_POLL_SECONDS
    while True:
        started = time.monotonic()
        answer = api.call(
            "GET",
            "status.php",
            params={"id": song.job},
            headers={"Prefer": f"wait={longest_seconds}"},
            wait_seconds=longest_seconds,
        )
        data = api.body(answer)
        status = _text(data, "status")
        if status in (COMPLETED, FAILED):
            song.is_finished = True
            if status == FAILED:
                raise RemoteFailed(printable(str(data.get("error") or "the server didn't say why it failed")))
            return
        if status == PROCESSING:
            show(PROCESSING, _number(data.get("progress")), 100)
        else:
            show(QUEUED, _number(data.get("queue_position")), None)
        # A server that waited is asked again at once; who knows nothing of that is asked now and then.
        if "Preference-Applied" in answer.headers and time.monotonic() - started >= SHORTEST_POLL_SECONDS:
            continue
        told = answer.headers.get("Retry-After", "")
        api.sleep(min(max(float(told[:9]), SHORTEST_POLL_SECONDS), longest_seconds) if told.isdecimal() else pause)
        pause = min(pause + 1, LONGEST_POLL_SECONDS)


def fetch(api: Api, song: Song, show: Show) -> str:
    """Write a completed song's stems to its folder, all of them or none; return the server's words on them."""
    song.target.parent.mkdir(parents=True, exist_ok=True)
    # Beside their final place, so that a stem is never there half-written.
    with TemporaryDirectory(dir=song.target.parent, prefix=".part-") as folder:
        try:
            made, comment = _fetch(api, song, Path(folder) / "first", show)
        except Damaged as error:
            api.rest(SHORTEST_POLL_SECONDS, str(error))
            made, comment = _fetch(api, song, Path(folder) / "second", show)
        song.target.mkdir(exist_ok=True)
        for stem in made:
            stem.replace(song.target / stem.name)
    return printable(comment)


def delete(api: Api, song: Song) -> None:
    """Have a server delete a job, whatever its state."""
    api.call("DELETE", "jobs.php", params={"id": song.job})


def _fetch(api: Api, song: Song, folder: Path, show: Show) -> tuple[list[Path], str]:
    """Download and unpack into a new folder."""
    folder.mkdir()
    part = folder.with_suffix(".zip.part")
    download(api, song.job or "", part, lambda done, total: show("downloading", done, total))
    return unpack(part, folder)


def _form(files: ExitStack, api: Api, path: Path, fields: Mapping[str, str], show: Show) -> Form:
    def sent(done: int, total: int) -> None:
        api.sleep(0)  # notices a stop
        show("uploading", done, total)

    return Form(fields, path, files.enter_context(path.open("rb")), sent)


def _digest(path: Path, fields: Mapping[str, str]) -> str:
    """Return what the same file, under the same name and with the same fields, has alone."""
    digest = hashlib.sha256(repr((shown_name(path), sorted(fields.items()))).encode())
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _is_usable(api: Api, job_id: str) -> bool:
    """Tell whether a job of before is there and didn't fail."""
    try:
        data = api.data("GET", "status.php", params={"id": job_id})
    except Refused as error:
        if error.status == 404:
            return False
        raise
    return _text(data, "status") != FAILED


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0


def _text(data: Any, name: str) -> str:
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, str):
        raise RemoteFailed(f"the server's answer lacks {name!r}: it doesn't speak this API")
    return value
