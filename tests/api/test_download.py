"""`download.php`: the ZIP, whole or in parts, and why there is none."""

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.models import Job, utcnow
from tests.conftest import ON_POSTGRESQL, Account
from tests.support.multipart import Upload, body, error_of, field, job_of, part, post
from tests.support.ranges import honoured
from tests.support.separators import LABEL, FastSeparator

URL = "/api/v1/download.php"
STEMS = {
    "2": ["vocals", "accompaniment"],
    "4": ["vocals", "drums", "bass", "other"],
    "5": ["vocals", "drums", "bass", "piano", "other"],
}
YESTERYEAR, NEXT_YEAR = "Tue, 01 Jan 2019 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


def change(app: Flask, job_id: str, **values: object) -> None:
    with app.app_context():
        db.session.execute(update(Job).where(Job.id == job_id).values(**values))
        db.session.commit()


@pytest.fixture
def get(client: FlaskClient, account: Account) -> Callable[..., TestResponse]:
    """Return a caller of the endpoint: the id, then headers by name."""

    def call(job_id: str, method: str = "GET", **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()} | account.headers
        return client.open(URL, method=method, query_string={"id": job_id}, headers=named)

    return call


def test_the_zip(get: Any, done: Any) -> None:
    for stems, output in (("2", "wav"), ("2", "wav32"), ("4", "mp3"), ("5", "ogg")):
        job = done(stems=stems, output=output, name="My Song.wav")
        answer = get(job.id)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/zip"
        assert int(answer.headers["Content-Length"]) == len(answer.data)
        assert re.fullmatch(r'"[^"]+"', answer.headers["ETag"])
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="My Song-{stems}stems.zip"'
        assert "X-RateLimit-Limit" in answer.headers and "X-Request-ID" in answer.headers
        archive = zipfile.ZipFile(io.BytesIO(answer.data))
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(f"{stem}.{output.removesuffix('32')}" for stem in STEMS[stems])
        assert LABEL in archive.comment.decode()


def test_head(get: Any, done: Any) -> None:
    job = done()
    head, whole = get(job.id, "HEAD"), get(job.id)
    assert head.status_code == 200 and head.data == b""
    assert {name: head.headers[name] for name in ("Content-Length", "ETag", "Content-Disposition")} == {
        name: whole.headers[name] for name in ("Content-Length", "ETag", "Content-Disposition")
    }


# What a file was called, what its ZIP is saved as in ASCII, and in full where that differs; # is the job's id.
NAMES = {
    "simple.mp3": ("simple", None),
    "no.extension.wav": ("no.extension", None),
    "a  b .wav": ("a b", None),
    'say "hi" \\ or; not=.wav': ("say _hi_ _ or; not=", None),
    "a<b>c:d/e|f?g*h.wav": ("e_f_g_h", None),
    "%0d%0aSet-Cookie: a=b.wav": ("_0d_0aSet-Cookie_ a=b", "%0d%0aSet-Cookie_ a=b"),
    "-rf --x.wav": ("rf --x", None),
    " .-.hidden. .wav": ("hidden", None),
    "---.wav": ("#", None),
    "...wav": ("#", None),
    "con.aux.wav": ("_con.aux", None),
    "NUL .x.wav": ("_NUL .x", None),
    "com\u00b9.x.wav": ("_com1.x", "_com\u00b9.x"),
    "Consul.x.wav": ("Consul.x", None),
    "Beyonc\u00e9 \u2013 D\u00e9j\u00e0 Vu.mp3": ("Beyonce Deja Vu-#", "Beyonc\u00e9 \u2013 D\u00e9j\u00e0 Vu"),
    "D\u00e9j\u00e0 Vu.mp3": ("Deja Vu", "D\u00e9j\u00e0 Vu"),
    "Gr\u00f6\u00dfe \u266b \u97f3\u697d.wav": ("Groe-#", "Gr\u00f6\u00dfe \u266b \u97f3\u697d"),
    "\u041f\u0435\u0441\u043d\u044f.mp3": ("#", "\u041f\u0435\u0441\u043d\u044f"),
    "\u6b4c 1.mp3": ("1-#", "\u6b4c 1"),
    "-\u6b4c.mp3": ("#", "\u6b4c"),
    "\uff0f\uff0e\uff0e\uff3c\uff0dx.mp3": ("_.._-x", "\uff0f\uff0e\uff0e\uff3c\uff0dx"),
    "evil\u202efdp.exe\x00\n.wav": ("evilfdp.exe", None),
    "x.wav" * 50 + ".wav": ("x.wav" * 40, None),
    "\u00fc" * 251 + ".wav": ("u" * 100, "\u00fc" * 100),
    "a" + "\u97f3" * 100 + ".wav": ("a-#", "a" + "\u97f3" * 66),
}


def test_names_made_from_the_uploads(app: Flask, get: Any, done: Any) -> None:
    job = done()
    for original, (plain, full) in NAMES.items():
        # PostgreSQL holds no NUL, nor does any name that upload.php takes.
        change(app, job.id, original_name=original.replace("\0", "") if ON_POSTGRESQL else original)
        answer = get(job.id)
        assert answer.status_code == 200, original
        assert "Set-Cookie" not in answer.headers
        value = answer.headers["Content-Disposition"]
        assert value.isascii() and value.isprintable()
        found = re.fullmatch(r"""attachment; filename=("[^"\\]+"|[^"\\ ;]+)(?:; filename\*=UTF-8''(\S+))?""", value)
        assert found, value
        assert found[1].strip('"') == f"{plain.replace('#', job.id)}-2stems.zip", original
        assert (found[2] and unquote(found[2])) == (full and f"{full}-2stems.zip"), original
        assert len(unquote(found[2] or found[1]).encode()) <= 255


def test_names_of_two_songs_without_ascii_letters_differ(app: Flask, get: Any, done: Any) -> None:
    jobs = [done(name=name) for name in ("\u041f\u0435\u0441\u043d\u044f.wav", "\u6b4c.wav")]
    values = [get(job.id).headers["Content-Disposition"] for job in jobs]
    assert [value.split(";")[1] for value in values] == [f" filename={job.id}-2stems.zip" for job in jobs]


def test_a_name_cannot_bring_a_header(
    client: FlaskClient, account: Account, get: Any, song: bytes, finished: Callable[[str], Job]
) -> None:
    for name in ("a\r\nSet-Cookie: evil=1\r\n.wav", "a\nb.wav", "../../../etc/passwd.wav", "\u202e\u2028.wav.wav"):
        named = part(f"name=file; filename*=UTF-8''{quote(name, safe='')}", song)
        answer = post(client, account.headers, body(named, field("stems", "2")))
        answer = get(finished(answer.json["data"]["id"]).id)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        value = answer.headers["Content-Disposition"]
        assert value.isprintable() and "/" not in value and value.count('"') in (0, 2), value


def test_ranges(get: Any, done: Any) -> None:
    job = done()
    whole = get(job.id).data
    size = len(whole)
    for asked, (start, end) in honoured(size).items():
        answer = get(job.id, Range=asked)
        assert answer.status_code == 206, asked
        assert answer.data == whole[start:end]
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert int(answer.headers["Content-Length"]) == end - start
        assert answer.headers["Content-Type"] == "application/zip"


def test_what_is_no_single_range_of_bytes_gets_the_whole(get: Any, done: Any) -> None:
    job = done()
    whole = get(job.id).data
    several = ("bytes=0-0,2-3", "bytes=0-1, -1")
    for asked in (*several, "items=0-5", "bytes", "bytes=", "bytes=a-b", "bytes=5-2", "bytes=-", "0-5", "bytes=1.5-2"):
        answer = get(job.id, Range=asked)
        assert (answer.status_code, answer.data) == (200, whole), asked


def test_a_range_beyond_the_end(get: Any, done: Any) -> None:
    job = done()
    size = len(get(job.id).data)
    for asked in (f"bytes={size}-", f"bytes={size}-{size + 5}", f"bytes={10**30}-"):
        answer = get(job.id, Range=asked)
        error_of(answer, 416)
        assert answer.headers["Content-Range"] == f"bytes */{size}"
        assert "Content-Disposition" not in answer.headers


def test_a_resumed_download(get: Any, done: Any) -> None:
    job, other = done(), done(stems="4")
    first = get(job.id)
    etag = first.headers["ETag"]
    assert get(job.id, Range="bytes=10-", If_Range=etag).status_code == 206
    changed = get(job.id, Range="bytes=10-", If_Range=get(other.id).headers["ETag"])
    assert (changed.status_code, changed.data) == (200, first.data)


def test_if_none_match(get: Any, done: Any) -> None:
    job = done()
    etag = get(job.id).headers["ETag"]
    for matching in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = get(job.id, If_None_Match=matching)
        assert (answer.status_code, answer.data) == (304, b""), matching
        assert answer.headers["ETag"] == etag
        assert "X-RateLimit-Limit" in answer.headers
    assert get(job.id, If_None_Match='"other"').status_code == 200


def test_other_conditions_are_ignored(get: Any, done: Any) -> None:
    job = done()
    etag = get(job.id).headers["ETag"]
    for headers in (
        {"If_Match": '"other"'},
        {"If_Match": etag},
        {"If_Modified_Since": NEXT_YEAR},
        {"If_Modified_Since": YESTERYEAR},
        {"If_Unmodified_Since": YESTERYEAR},
        {"If_None_Match": '"other"', "If_Modified_Since": NEXT_YEAR},
    ):
        assert get(job.id, **headers).status_code == 200, headers


def test_not_finished(app: Flask, get: Any, upload: Upload, separator: FastSeparator) -> None:
    separator.hold()
    running, waiting = (job_of(app, upload()) for _ in range(2))
    assert separator.started.wait(60)
    for job, state in ((running, "processing"), (waiting, "queued")):
        answer = get(job.id)
        assert f"Job {job.id} is {state}" in error_of(answer)
        assert answer.json["error"] == "Stems not available"
        assert "ETag" not in answer.headers


def test_failed(get: Any, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator) -> None:
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    job = finished(upload().json["data"]["id"])
    assert error_of(get(job.id)) == f"Job {job.id} failed: The file holds no decodable audio."


def test_unknown_and_somebody_elses(
    app: Flask, get: Any, done: Any, make_account: Callable[..., Account]
) -> None:
    theirs = done(who=make_account("other@example.com"))
    answer = get(theirs.id)
    message = error_of(answer, 404)
    change(app, theirs.id, id=f"{theirs.second - 9}_2")
    assert get(theirs.id).data == answer.data
    assert message == f"There is no job {theirs.id}."


def test_past_its_retention(app: Flask, get: Any, done: Any) -> None:
    job = done()
    change(app, job.id, expired_at=utcnow())
    assert "expired" in error_of(get(job.id), 404)


def test_malformed_and_missing_ids(client: FlaskClient, get: Any, account: Account) -> None:
    for job_id in ("", "abc", "1_3", "../1_2", "1_2\x00", "1_2/../2_2", "9" * 99 + "_2"):
        assert "must look like" in error_of(get(job_id)), job_id
    assert "id is missing" in error_of(client.get(URL, headers=account.headers))
    assert error_of(get("1_2"), 404)
    assert error_of(client.get(f"{URL}?id=1_2"), 401)
