"""One job's previews as a ZIP: a member a chunk, `<stem or original>/<number>.ogg`, and last what they are."""

import json
import logging
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ezstems.audio import outputs, preview
from ezstems.audio.mixing import Source
from ezstems.audio.preview import Preview
from ezstems.audio.stems import STEMS
from ezstems.errors import EncodingFailed, UnreadableAudio
from ezstems.jobs.archive import Archive
from ezstems.jobs.opened import Opened
from ezstems.jobs.zip_entry import ZipEntry
from ezstems.models import Job

log = logging.getLogger(__name__)

ORIGINAL = "original"
CONTENTS = "previews.json"
COPY_BYTES = 1 << 20
MOST_DIRECTORIES = 4
_directories: dict[str, dict[str, zipfile.ZipInfo]] = {}  # by ETag
_directories_lock = threading.Lock()


def member(name: str, number: int) -> str:
    """Name the member of a chunk of a stem, or of the original."""
    return f"{name}/{number}.ogg"


def pack(archive: Archive, job: Job, folder: Path, stopping: Callable[[], bool]) -> Path:
    """Make a completed job's previews in a folder; return the file.

    Raises:
        EncodingFailed: they can't be made of what the job's ZIP holds.
        Interrupted: it is to stop.
    """
    assert job.samples is not None
    path, sounds = folder / "previews.zip", {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        for name in STEMS[job.stems]:
            with _stem(archive, job, name, folder) as stem:
                opened = preview.stem_arguments(stem, job.output)
                sounds[name] = _add(packed, name, Preview(opened, job.samples, stopping))
        if job.keeps_upload:
            with archive.lend_source(job, lambda: None) as upload:
                try:
                    opened = preview.upload_arguments(upload)
                    sounds[ORIGINAL] = _add(packed, ORIGINAL, Preview(opened, job.samples, stopping))
                except UnreadableAudio as error:  # it was readable when it was separated
                    raise EncodingFailed(str(error)) from error
        packed.writestr(CONTENTS, json.dumps(_contents(job, sounds)))
    return path


def pack_nothing(folder: Path) -> Path:
    """Write previews of nothing, which say that there is no use in trying again; return the file."""
    path = folder / "previews.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED):
        return path


def contents(archive: Archive, job: Job) -> dict[str, Any] | None:
    """Return what a job's previews are; None where it has none."""
    try:
        with _open(archive, job, CONTENTS) as opened:
            return json.load(opened)
    except FileNotFoundError:
        return None


def open_chunk(archive: Archive, job: Job, name: str, number: int) -> Opened:
    """Open one chunk; raise FileNotFoundError where there is none."""
    return _open(archive, job, member(name, number))


def _open(archive: Archive, job: Job, name: str) -> Opened:
    try:
        return ZipEntry(archive.previews.open(job), name, _find)
    except KeyError as error:
        raise FileNotFoundError(name) from error
    except zipfile.BadZipFile as error:  # the song plays from its stems
        log.error("job %s: its previews are damaged: %s", job.id, error, extra={"job_id": job.id})
        raise FileNotFoundError(name) from error


def _find(opened: Opened, name: str) -> zipfile.ZipInfo:
    """Find a member; the directories of the last files are kept: three hours' takes a sixth of a second to read."""
    with _directories_lock:
        members = _directories.get(opened.etag)
    if members is None:
        members = {member.filename: member for member in zipfile.ZipFile(opened).infolist()}
        with _directories_lock:
            while len(_directories) >= MOST_DIRECTORIES:
                del _directories[next(iter(_directories))]
            _directories[opened.etag] = members
    return members[name]


def _contents(job: Job, sounds: dict[str, Any]) -> dict[str, Any]:
    shape = {"chunk_frames": preview.CHUNK_FRAMES, "lead_in_frames": preview.MARGIN_FRAMES}
    clips = outputs.FORMATS[job.output].clips  # as the stems themselves do: 16 bits are enough for who plays it
    return {"frames": job.samples, "clips": clips, **shape, "sounds": sounds}


def _add(packed: zipfile.ZipFile, name: str, made: Preview) -> dict[str, Any]:
    for number, chunk in enumerate(made):
        packed.writestr(member(name, number), chunk)
    return {"rms_db": made.rms_db}


@contextmanager
def _stem(archive: Archive, job: Job, name: str, folder: Path) -> Iterator[Source]:
    """Lend a stem where it lies; of an object store a copy: the disk holds no more of them at a time."""
    filename = outputs.FORMATS[job.output].filename(name)
    copy = folder / filename
    with ZipEntry(archive.open_result(job), filename) as entry:
        path, start = entry.place() or (copy, 0)
        if path == copy:
            with copy.open("wb") as file:
                shutil.copyfileobj(entry, file, COPY_BYTES)
        try:
            yield Source(path, start, start + entry.size_bytes)
        finally:
            copy.unlink(missing_ok=True)
