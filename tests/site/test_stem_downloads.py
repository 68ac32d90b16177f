"""A song's files from the session: its stems by range out of the ZIP, its waveforms, its ZIP."""

import base64
import gc
import io
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from gunicorn.http.wsgi import FileWrapper
from sqlalchemy import update
from werkzeug.test import TestResponse

from ezstems.audio.separate import Separator
from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.jobs import OUTPUTS, Desk
from ezstems.jobs.opened import OpenedFile
from ezstems.jobs.renamed_zip import RenamedZip
from ezstems.jobs.zip_entry import ZipEntry
from ezstems.models import Job
from tests.support.audio_files import read
from tests.support.multipart import Upload, error_of, job_of
from tests.support.ranges import honoured
from tests.support.separators import SAMPLES, FastSeparator

STEMS = {2: ("vocals", "accompaniment"), 5: ("vocals", "drums", "bass", "piano", "other")}
TYPES = {
    "wav": "audio/wav",
    "wav32": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
}
EXTENSIONS = {"wav32": "wav"}  # where it isn't the format's name


def test_these_are_all_formats_in_their_order() -> None:
    assert tuple(TYPES) == OUTPUTS


@pytest.fixture
def get(session: FlaskClient) -> Callable[..., TestResponse]:
    """Return a caller: the job, what follows its id, then headers by name."""

    def call(job: Job, path: str, method: str = "GET", **headers: str) -> TestResponse:
        named = {"Accept": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return session.open(f"/songs/{job.id}/{path}", method=method, headers=named)

    return call


def packed(app: Flask, job: Job) -> dict[str, bytes]:
    """Return the contents of a job's ZIP."""
    with app.app_context(), zipfile.ZipFile(app.extensions["ezstems"].result(job)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def change(app: Flask, job: Job, **values: object) -> None:
    with app.app_context():
        db.session.execute(update(Job).where(Job.id == job.id).values(**values))
        db.session.commit()


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_stem_is_its_entry_of_the_zip(app: Flask, get: Any, done: Any, output: str) -> None:
    for stems, names in STEMS.items():
        job = done(stems=str(stems), output=output)
        contents = packed(app, job)
        assert len(set(contents.values())) == stems, "a mistaken stem would be noticed"
        for name in names:
            answer = get(job, f"stems/{name}")
            assert (answer.status_code, answer.data) == (200, contents[f"{name}.{EXTENSIONS.get(output, output)}"])
            assert answer.headers["Content-Type"] == TYPES[output]
            assert int(answer.headers["Content-Length"]) == len(answer.data)
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert re.fullmatch(r'"[^"]+"', answer.headers["ETag"])
            assert "private" in answer.headers["Cache-Control"]
            assert "Content-Disposition" not in answer.headers


def test_ranges(app: Flask, get: Any, done: Any) -> None:
    job = done(stems="5")
    for name in STEMS[5]:
        whole = packed(app, job)[f"{name}.wav"]
        size = len(whole)
        for asked, (start, end) in honoured(size).items():
            answer = get(job, f"stems/{name}", Range=asked)
            assert (answer.status_code, answer.data) == (206, whole[start:end]), asked
            assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
            assert int(answer.headers["Content-Length"]) == end - start
            assert answer.headers["Content-Type"] == "audio/wav"
        for asked in ("bytes=0-0,2-3", "items=0-5", "bytes=a-b", "bytes=5-2"):
            answer = get(job, f"stems/{name}", Range=asked)
            assert (answer.status_code, answer.data) == (200, whole), asked
        for asked in (f"bytes={size}-", f"bytes={10**30}-"):
            answer = get(job, f"stems/{name}", Range=asked)
            assert error_of(answer, 416)
            assert answer.headers["Content-Range"] == f"bytes */{size}"


def test_conditions(get: Any, done: Any) -> None:
    job, other = done(), done(stems="5")
    first = get(job, "stems/vocals")
    etag = first.headers["ETag"]
    for matching in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = get(job, "stems/vocals", If_None_Match=matching)
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", etag), matching
    assert get(job, "stems/vocals", If_None_Match='"other"').status_code == 200
    assert get(job, "stems/vocals", Range="bytes=10-", If_Range=etag).status_code == 206
    changed = get(job, "stems/vocals", Range="bytes=10-", If_Range=get(other, "stems/vocals").headers["ETag"])
    assert (changed.status_code, changed.data) == (200, first.data)
    for headers in ({"If_Match": '"other"'}, {"If_Unmodified_Since": "Tue, 01 Jan 2019 00:00:00 GMT"}):
        assert get(job, "stems/vocals", **headers).status_code == 200
    etags = {get(each, f"stems/{name}").headers["ETag"] for each in (job, other) for name in STEMS[each.stems]}
    assert len(etags) == 7


def test_head(get: Any, done: Any) -> None:
    job = done()
    for path in ("stems/vocals", "stems/vocals?download=1", "zip", "peaks"):
        head, whole = get(job, path, "HEAD"), get(job, path)
        assert (head.status_code, head.data) == (200, b"")
        for name in ("Content-Length", "ETag", "Content-Type"):
            assert head.headers[name] == whole.headers[name]


def test_a_stem_to_save_bears_the_songs_name(app: Flask, get: Any, done: Any) -> None:
    job = done(output="mp3", name="My Song.wav")
    answer = get(job, "stems/vocals?download=1")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="My Song - vocals.mp3"'
    assert answer.data == packed(app, job)["vocals.mp3"]
    partly = get(job, "stems/vocals?download=1", Range="bytes=0-9")
    assert (partly.status_code, partly.data) == (206, answer.data[:10])
    floats = done(output="wav32", name="My Song.wav")
    value = get(floats, "stems/vocals?download=1").headers["Content-Disposition"]
    assert value == 'attachment; filename="My Song - vocals.wav"'
    change(app, job, original_name="Größe ♫.wav")
    value = get(job, "stems/accompaniment?download=1").headers["Content-Disposition"]
    assert unquote(re.search(r"filename\*=UTF-8''(\S+)$", value)[1]) == "Größe ♫ - accompaniment.mp3"
    for no in ("", "?download=", "?download=0", "?download=yes"):
        assert "Content-Disposition" not in get(job, f"stems/vocals{no}").headers


def test_unknown_stems(get: Any, done: Any) -> None:
    job = done()
    for name in ("drums", "vocals.wav", "Vocals", "scratch", "..%2fvocals", "%00", "vocals%0a", "x" * 999):
        assert "has no stem" in error_of(get(job, f"stems/{name}"), 404) or "/" in unquote(name), name


def test_the_window_is_read_in_blocks_and_closed(
    app: Flask, session: FlaskClient, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = done()
    size = len(packed(app, job)["vocals.wav"])
    read, readinto, closed = [], ZipEntry.readinto, []
    close = ZipEntry.close

    def reading(self: ZipEntry, buffer: Any) -> int:
        read.append((self.tell(), len(buffer)))
        return readinto(self, buffer)

    def closing(self: ZipEntry) -> None:
        closed.append(self._archive.closed)
        close(self)

    monkeypatch.setattr(ZipEntry, "readinto", reading)
    monkeypatch.setattr(ZipEntry, "close", closing)
    monkeypatch.setattr("ezstems.web.send.BLOCK_BYTES", 100)
    for headers, status in (
        ({"Range": f"bytes={size - 150}-"}, 206),
        ({"Range": f"bytes={size}-"}, 416),
        ({"If-None-Match": "*"}, 304),
        ({}, 200),
    ):
        read.clear()
        closed.clear()
        # As behind gunicorn, whose own wrapper would read all that is before a range.
        environ = {"wsgi.file_wrapper": FileWrapper}
        answer = session.get(f"/songs/{job.id}/stems/vocals", headers=headers, environ_overrides=environ)
        assert answer.status_code == status
        answer.close()
        assert closed[0] is False, "nothing keeps the ZIP open"
        assert all(count <= 100 for _, count in read)
        if status == 206:
            assert read[0][0] == size - 150
        elif status != 200:
            assert read == []


def test_a_stem_that_could_not_be_opened_is_closed_in_silence(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(b"PK")
    complaints: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", complaints.append)
        for path, error in ((tmp_path / "none.zip", FileNotFoundError), (damaged, zipfile.BadZipFile)):
            with pytest.raises(error):
                ZipEntry(OpenedFile(path), "vocals.wav")
        gc.collect()
    assert complaints == []


def test_not_finished_and_failed(
    app: Flask, get: Any, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job]
) -> None:
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    failed = finished(upload().json["data"]["id"])
    separator.hold()
    running, waiting = (job_of(app, upload()) for _ in range(2))
    assert separator.started.wait(60)
    for path in ("stems/vocals", "peaks", "zip"):
        assert error_of(get(failed, path)) == f"Job {failed.id} failed: The file holds no decodable audio."
        assert f"Job {waiting.id} is queued" in error_of(get(waiting, path))
        assert f"Job {running.id} is " in error_of(get(running, path))


def test_files_that_the_sweep_took_meanwhile(
    app: Flask, get: Any, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = done()
    result = Desk.result

    def after_the_sweep(desk: Desk, asked: Job) -> Path:
        assert Job.expire(asked.number)
        desk._archive.remove_result(asked)
        return result(desk, asked)

    monkeypatch.setattr(Desk, "result", after_the_sweep)
    for path in ("stems/vocals", "zip", "peaks"):
        change(app, job, expired_at=None)
        assert "expired or was deleted" in error_of(get(job, path), 404)


def test_the_peaks(app: Flask, get: Any, done: Any) -> None:
    job = done(stems="5")
    answer = get(job, "peaks")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert list(answer.json) == ["samples", "sample_rate", "samples_per_peak", "stems", "tempo", "key"]
    assert (answer.json["samples"], answer.json["sample_rate"]) == (SAMPLES, 44_100)
    assert tuple(answer.json["stems"]) == STEMS[5]
    count = -(-SAMPLES // answer.json["samples_per_peak"])
    for name, encoded in answer.json["stems"].items():
        values = base64.b64decode(encoded, validate=True)
        assert len(values) == count and max(values) > 200, name
    again = get(job, "peaks", If_None_Match=answer.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")


def test_the_peaks_are_those_of_the_stems_that_are_served(
    get: Any, upload: Upload, finished: Callable[..., Job], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real = Separator(tmp_path, "builtin")
    monkeypatch.setattr(FastSeparator, "__call__", lambda self, *arguments, **options: real(*arguments, **options))
    job = finished(upload(stems="2").json["data"]["id"], seconds=120.0)
    assert (job.status, job.samples) == ("completed", 22_050)
    peaks = get(job, "peaks").json
    for name, encoded in peaks["stems"].items():
        file = tmp_path / f"{name}.wav"
        file.write_bytes(get(job, f"stems/{name}").data)
        absolute, step = np.abs(read(file)).max(axis=1), peaks["samples_per_peak"]
        expected = [round(255 * absolute[at : at + step].max()) for at in range(0, len(absolute), step)]
        assert list(base64.b64decode(encoded)) == expected
        assert max(expected) > 0


def test_a_song_from_before_there_were_peaks(app: Flask, get: Any, done: Any) -> None:
    job = done()
    archive = app.extensions["ezstems"]._archive
    archive.delete(next(place for place in archive.places_of(job) if place.suffix == ".peaks"))
    assert f"Job {job.id} has no waveforms" in error_of(get(job, "peaks"), 404)
    assert get(job, "stems/vocals").status_code == 200


def test_the_zip_names_its_entries_after_the_song(app: Flask, get: Any, upload: Any, finished: Any) -> None:
    job = finished(upload(name="Größe: ♫?.wav", stems="5").json["data"]["id"])
    plain = packed(app, job)
    answer = get(job, "zip")
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive, app.app_context():
        assert archive.testzip() is None
        assert archive.namelist() == [f"Größe_ ♫_ - {name}.wav" for name in STEMS[5]]
        assert all(entry.flag_bits & 0x800 for entry in archive.infolist()), "the names are UTF-8, and say so"
        found = {name.removeprefix("Größe_ ♫_ - "): archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(app.extensions["ezstems"].result(job)) as stored:
            assert archive.comment == stored.comment
    assert found == plain
    size, etag = len(answer.data), answer.headers["ETag"]
    asked = {**honoured(size), **{f"bytes={at}-{at + 60}": (at, at + 61) for at in range(0, size - 61, 173)}}
    for header, (start, end) in asked.items():
        partly = get(job, "zip", Range=header, If_Range=etag)
        assert (partly.status_code, partly.data) == (206, answer.data[start:end]), header
    assert get(job, "zip", If_None_Match=etag).status_code == 304


def test_a_zip_of_over_4_gb_is_renamed(tmp_path: Path) -> None:
    """By the sizes alone: the file is a hole."""
    path, gap = tmp_path / "wide.zip", (1 << 32) + 5
    with path.open("wb") as file:
        first = zipfile.ZipInfo("vocals.wav")
        first.file_size, first.compress_size, first.CRC, first.header_offset = gap, gap, 0, 0
        file.write(header := first.FileHeader(zip64=True))
        file.seek(gap, 1)
        second = zipfile.ZipInfo("drums.wav")
        second.file_size, second.compress_size, second.CRC = 3, 3, zlib.crc32(b"end")
        second.header_offset = file.tell()
        file.write(second.FileHeader() + b"end")
        with zipfile.ZipFile(file, "w") as archive:
            archive.filelist.extend((first, second))
    assert len(header) > 40
    with RenamedZip(OpenedFile(path), lambda name: f"♫ - {name}") as renamed, zipfile.ZipFile(renamed) as archive:
        assert archive.namelist() == ["♫ - vocals.wav", "♫ - drums.wav"]
        assert archive.read("♫ - drums.wav") == b"end"
        with archive.open("♫ - vocals.wav") as vocals:
            assert vocals.read(4) == bytes(4)
