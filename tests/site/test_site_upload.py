"""The upload page's form: upload.php's checks and limits, the session's token, and answers for scripts and without."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, template_rendered
from flask.testing import FlaskClient
from markupsafe import escape
from sqlalchemy import select
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import ServerFull
from ezstems.jobs import API_EXTENSIONS, OUTPUTS, UPLOAD_EXTENSIONS
from ezstems.jobs.desk import Desk
from ezstems.models import ApiKey, Job
from tests.conftest import Account
from tests.support.audio_files import convert, write_wav
from tests.support.audio_files import song as audio
from tests.support.multipart import (
    CONTENT_TYPE,
    Padded,
    assert_nothing_left,
    body,
    error_of,
    field,
    file_part,
    stream,
    uploads,
)
from tests.support.separators import FastSeparator
from tests.support.sessions import log_in, token

JSON = {"Accept": "application/json"}
MIB = 1024 * 1024
STEMS = field("stems", "2")
FILM = ("-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5", "-map", "0:a", "-map", "1:v", "-c:v", "mpeg4")


def send(client: FlaskClient, *parts: bytes, **headers: str) -> TestResponse:
    """Send a form as it is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/upload", data=body(*parts), content_type=CONTENT_TYPE, headers=named)


def jobs(app: Flask) -> list[Job]:
    with app.app_context():
        found = list(db.session.scalars(select(Job).order_by(Job.number)))
        db.session.expunge_all()
        return found


def says(page: TestResponse, message: str) -> bool:
    """Tell whether a page, not a script's answer, has a message."""
    return page.mimetype == "text/html" and str(escape(message)) in page.text


def test_it_needs_a_login(app: Flask, client: FlaskClient, song: bytes) -> None:
    value = token(client)
    for method in ("GET", "POST"):
        answer = client.open("/upload", method=method)
        assert answer.status_code == 302 and answer.headers["Location"].startswith("/login")
    parts = (file_part(song), STEMS, field("csrf_token", value))
    assert send(client, *parts).status_code == 302
    assert error_of(send(client, *parts, X_CSRFToken=value, **JSON), 401)
    assert_nothing_left(app)


def test_the_page(app: Flask, session: FlaskClient, make_account: Callable[..., Account]) -> None:
    pages: list[dict[str, Any]] = []

    def record(_app: Flask, context: dict[str, Any], **_: Any) -> None:
        pages.append(context)

    with template_rendered.connected_to(record, app):
        answer = session.get("/upload")
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
        assert re.search(r'<form[^>]*enctype="multipart/form-data"', answer.text)
        assert 'name="csrf_token"' in answer.text
        assert pages[-1] | {
            "max_bytes": 30 * MIB,
            "extensions": UPLOAD_EXTENSIONS,
            "error": None,
        } == pages[-1]
        (accepted,) = re.findall(r'<input type="file"[^>]* accept="([^"]+)"', answer.text)
        assert accepted.split(",") == [f".{extension}" for extension in UPLOAD_EXTENSIONS]
        (hint,) = re.findall(r'<p[^>]* id="file-hint">([^<]+)<', answer.text)
        assert set(re.findall(r"\w+", hint.lower())) >= set(UPLOAD_EXTENSIONS) - {"oga", "aif", "aifc", "m4v"}
        options = {
            name: re.findall(r'<option value="(\w+)"(?: selected)?>([^<]+)</option>', select)
            for name, select in re.findall(r'<select id="(\w+)"(.*?)</select>', answer.text, re.DOTALL)
        }
        assert list(options) == ["stems", "cutoff", "output"]
        assert options["stems"] == [
            ("2", "2: vocals, accompaniment"),
            ("4", "4: vocals, drums, bass, other"),
            ("5", "5: vocals, drums, bass, piano, other"),
        ]
        assert [name for name, _ in options["cutoff"]] == ["full", "11kHz", "16kHz"]
        choices = options["output"]
        assert [name for name, _ in choices] == list(OUTPUTS)
        assert dict(choices)["wav"] == "WAV: 16 bit, at once in the mixer"
        assert dict(choices)["mp3"] == "MP3: 192 kbit/s"
        assert dict(choices)["wav32"].startswith("32-bit float WAV: never clips")
        large = app.test_client()
        log_in(large, make_account("large@example.com", "custom", 123).email)
        large.get("/upload")
        assert pages[-1]["max_bytes"] == 123 * MIB


def test_the_servers_default_is_selected(make_app: Callable[..., Flask], make_account: Callable[..., Account]) -> None:
    account = make_account()
    for cutoff in ("16kHz", "full"):
        session = make_app(cutoff=cutoff).test_client()
        log_in(session, account.email)
        selected = re.findall(r'<option value="(\w+)" selected>', session.get("/upload").text)
        assert selected == [cutoff]


@pytest.mark.parametrize("place", ["header", "field before", "field after"])
def test_a_script_is_told_the_songs_place(
    app: Flask, session: FlaskClient, song: bytes, finished: Callable[[str], Job], place: str
) -> None:
    value = token(session)
    parts = [file_part(song, "My Song.wav"), field("stems", "4"), field("cutoff", "full"), field("output", "mp3")]
    if place == "header":
        answer = send(session, *parts, X_CSRFToken=value, **JSON)
    else:
        hidden = field("csrf_token", value)
        answer = send(session, *([hidden, *parts] if place == "field before" else [*parts, hidden]), **JSON)
    assert (answer.status_code, answer.mimetype) == (200, "application/json"), answer.text
    (job,) = jobs(app)
    assert answer.json == {"success": True, "data": {"id": job.id, "url": f"/songs/{job.id}"}}
    assert (job.stems, job.cutoff, job.output, job.original_name) == (4, "full", "mp3", "My Song.wav")
    assert job.size_bytes == len(song)
    assert finished(job.id).status == "completed"
    assert session.get(answer.json["data"]["url"]).status_code == 200


def test_a_form_without_scripts(app: Flask, session: FlaskClient, song: bytes) -> None:
    value = re.search(r'name="csrf_token" value="([^"]+)"', session.get("/upload").text)[1]
    answer = send(session, field("csrf_token", value), file_part(song), STEMS)
    (job,) = jobs(app)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/songs/{job.id}")
    assert session.get(f"/songs/{job.id}").status_code == 200


def test_a_wrong_token_drops_the_file(app: Flask, session: FlaskClient, song: bytes) -> None:
    parts = (file_part(song), STEMS)
    others = token(app.test_client())
    for wrong in ("", "junk", others, "x" * 4000):
        for fields in ((field("csrf_token", wrong), *parts), (*parts, field("csrf_token", wrong))):
            assert "token" in error_of(send(session, *fields, **JSON)), wrong
            answer = send(session, *fields)
            assert answer.status_code == 400 and says(answer, "Load the page again and send the file from there.")
        # The header goes first, unless it is empty: a good field doesn't mend it.
        if wrong:
            fields = (*parts, field("csrf_token", token(session)))
            assert "token" in error_of(send(session, *fields, X_CSRFToken=wrong, **JSON)), wrong
        assert_nothing_left(app, [wrong])
    assert "token" in error_of(send(session, *parts, **JSON))
    address = f"/upload?{urlencode({'csrf_token': token(session)})}"
    assert "token" in error_of(session.post(address, data=body(*parts), content_type=CONTENT_TYPE, headers=JSON))
    assert_nothing_left(app)


def test_an_empty_header_is_as_good_as_missing(app: Flask, session: FlaskClient, song: bytes) -> None:
    parts = (file_part(song), STEMS)
    for empty in ("", " "):
        assert "token" in error_of(send(session, *parts, X_CSRFToken=empty, **JSON))
        assert_nothing_left(app)
    good = field("csrf_token", token(session))
    assert send(session, *parts, good, X_CSRFToken="", **JSON).status_code == 200


def test_a_wrong_header_is_refused_before_the_file_is_read(app: Flask, session: FlaskClient) -> None:
    content = Padded(body(STEMS), 5 * MIB, b"")
    assert error_of(stream(session, JSON | {"X-CSRFToken": "junk"}, content, content.length, "/upload"))
    # Read it was in the end, but by the drain, so that the client that is still sending reads its answer.
    assert content.read(1) == b""
    assert_nothing_left(app)


def test_the_checks_are_those_of_the_api(app: Flask, session: FlaskClient, account: Account, song: bytes) -> None:
    value = token(session)
    cases = [
        [STEMS],
        [file_part(b"", ""), STEMS],
        [file_part(b""), STEMS],
        [file_part(song)],
        [file_part(song), field("stems", "3")],
        [file_part(song), STEMS, field("cutoff", "12kHz")],
        [file_part(song), STEMS, field("output", "<b>wma</b>")],
        [file_part(song), field("stems", "2" * 5000)],
        [file_part(b"no audio at all " * 99), STEMS],
        [file_part(song, "song.mp3"), STEMS],
    ]
    for parts in cases:
        content = body(*parts)
        theirs = session.post("/api/v1/upload.php", data=content, content_type=CONTENT_TYPE, headers=account.headers)
        mine = send(session, *parts, X_CSRFToken=value, **JSON)
        assert mine.json == theirs.json and error_of(mine), parts
        page = send(session, *parts, X_CSRFToken=value)
        assert page.status_code == 400
        assert says(page, theirs.json["message"]), page.text
        assert_nothing_left(app, parts)
    for junk, kind in ((b"x" * 99, CONTENT_TYPE), (body(STEMS), "text/plain"), (b"", CONTENT_TYPE)):
        answer = session.post("/upload", data=junk, content_type=kind, headers=JSON | {"X-CSRFToken": value})
        assert error_of(answer)
        assert_nothing_left(app)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("song.flac", ()),
        ("Song.OGG", ()),
        ("song.oga", ("-c:a", "libvorbis")),
        ("song.opus", ()),
        ("song.aiff", ()),
        ("song.aif", ()),
        ("song.aifc", ("-f", "aiff")),
        *((f"film.{extension}", FILM) for extension in ("mp4", "m4v", "mov", "mkv")),
        ("film.webm", (*FILM, "-c:v", "libvpx")),
    ],
)
def test_more_kinds_than_the_api_takes(
    app: Flask,
    session: FlaskClient,
    account: Account,
    finished: Callable[[str], Job],
    tmp_path: Path,
    name: str,
    arguments: tuple[str, ...],
) -> None:
    path = convert(write_wav(tmp_path / "source.wav", audio(20_000)), name, *arguments)
    parts = (file_part(path.read_bytes(), name), STEMS)
    theirs = session.post("/api/v1/upload.php", data=body(*parts), content_type=CONTENT_TYPE, headers=account.headers)
    rule = f"The file '{name}' must be an MP3, WAV or M4A: its name must end in .mp3, .wav or .m4a."
    assert error_of(theirs) == rule
    assert_nothing_left(app)
    answer = send(session, *parts, X_CSRFToken=token(session), **JSON)
    assert answer.status_code == 200, answer.text
    job = finished(answer.json["data"]["id"])
    extension = path.suffix.lower()
    assert (job.status, job.original_name) == ("completed", name) and job.filename.endswith(extension)
    assert uploads(app) == [job.filename]
    # Its kept upload is the account's, whoever separates it again.
    form = {"source": job.id, "stems": "2"}
    again = session.post("/api/v1/upload.php", data=form, headers=account.headers)
    assert again.status_code == 200 and again.json["data"]["filename"].endswith(extension)
    assert finished(again.json["data"]["id"]).status == "completed"


def test_the_website_names_all_that_it_takes(app: Flask, session: FlaskClient, song: bytes) -> None:
    *others, last = (f".{extension}" for extension in UPLOAD_EXTENSIONS)
    answer = send(session, file_part(song, "song.wma"), STEMS, X_CSRFToken=token(session), **JSON)
    must_end = f"its name must end in {', '.join(others)} or {last}."
    assert error_of(answer) == f"The file 'song.wma' must be a song or a video: {must_end}"
    for extension in set(UPLOAD_EXTENSIONS) - set(API_EXTENSIONS):
        answer = send(session, file_part(song, f"song.{extension}"), STEMS, X_CSRFToken=token(session), **JSON)
        kind = extension.upper()
        assert error_of(answer) == f"The file's content is not {kind} audio, as its extension .{extension} says."
    assert_nothing_left(app)


def test_the_limit_of_the_plan_streamed(
    app: Flask, client: FlaskClient, make_account: Callable[..., Account], song: bytes, separator: FastSeparator
) -> None:
    separator.hold()
    log_in(client, make_account("small@example.com", "custom", 3).email)
    headers = JSON | {"X-CSRFToken": token(client)}
    for over in (1, 0, 2 * MIB):
        head, tail = body(file_part(song + b"CUT HERE"), STEMS).split(b"CUT HERE")
        content = Padded(head, 3 * MIB - len(song) + over, tail)
        answer = stream(client, headers, content, content.length, "/upload")
        if over:
            assert error_of(answer) == "The file is over the 3 MB that the custom plan allows."
            assert content.read(1) == b""
        else:
            assert answer.status_code == 200, "over what the website's other forms may hold"
    (job,) = jobs(app)
    assert uploads(app) == [job.filename] and job.size_bytes == 3 * MIB


def test_a_full_server(app: Flask, session: FlaskClient, song: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_worker: Desk, _user: object, _expected_bytes: int = 0) -> None:
        raise ServerFull("The queue is full. Try again later.", 77)

    parts, value = (file_part(song), STEMS), token(session)
    monkeypatch.setattr(Desk, "admit", full)
    script, page = send(session, *parts, X_CSRFToken=value, **JSON), send(session, *parts, X_CSRFToken=value)
    assert error_of(script, 500) == "The queue is full. Try again later." and says(page, script.json["message"])
    assert page.status_code == 500
    assert script.headers["Retry-After"] == page.headers["Retry-After"] == "77"
    assert_nothing_left(app)


def test_uploads_of_the_session_cost_a_key_nothing(app: Flask, session: FlaskClient, song: bytes) -> None:
    value = token(session)
    answer = send(session, file_part(song), STEMS, X_CSRFToken=value, **JSON)
    assert "X-RateLimit-Limit" not in answer.headers
    with app.app_context():
        assert db.session.scalars(select(ApiKey.window_calls)).all() == [0]


def test_answers_for_whom_nothing_is_preferred_are_pages(session: FlaskClient, song: bytes) -> None:
    for accept, kind in (
        ("*/*", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json;q=0.5, text/html", "text/html"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
    ):
        answer = send(session, file_part(song), STEMS, Accept=accept)
        assert (answer.status_code, answer.mimetype) == (400, kind), accept
        assert session.get("/nowhere", headers={"Accept": accept}).mimetype == kind
        assert session.get("/api/nowhere", headers={"Accept": accept}).mimetype == "application/json"
