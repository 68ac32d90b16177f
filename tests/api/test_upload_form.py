"""`upload.php`: bodies that are no proper multipart form, or a strange one."""

import base64
import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ezstems.web.api.upload_form import MAX_HEADERS_BYTES
from tests.conftest import Account
from tests.support.multipart import (
    BOUNDARY,
    CONTENT_TYPE,
    URL,
    Padded,
    assert_nothing_left,
    body,
    error_of,
    field,
    file_part,
    job_of,
    part,
    post,
    stream,
)

STEMS = field("stems", "2")


@pytest.fixture
def refused(app: Flask, client: FlaskClient, account: Account) -> Any:
    """Return a sender that asserts a 400 which leaves nothing, and returns its message."""

    def send(content: bytes, content_type: str = CONTENT_TYPE, **options: Any) -> str:
        message = error_of(post(client, account.headers, content, content_type, **options))
        assert_nothing_left(app, content[:200])
        return message

    return send


def test_a_missing_file(refused: Any, song: bytes) -> None:
    missing = "The part file is missing: the audio file, sent as multipart/form-data."
    assert refused(body()) == missing
    assert refused(body(STEMS)) == f"{missing} What came: 'stems'."
    for name in ("file[]", "audio", "files[0]", "File", "", "ü\"<b>", "n" * 64):
        said = f"{missing} What came: 'stems', {name!r}."
        assert refused(body(STEMS, file_part(song, name=name.replace('"', "%22")))) == said
        assert refused(body(STEMS, field(name.replace('"', "%22"), "x"))) == said
    many = [field(f"{number}{'n' * 100}", "x") for number in range(20)]
    told = ", ".join(repr(f"{number}{'n' * 63}") for number in range(10))
    assert refused(body(*many, STEMS)) == f"{missing} What came: {told}."


def test_a_file_without_a_name(refused: Any, song: bytes) -> None:
    nameless = 'The part file has no filename: choose a file, or name it as in filename="song.mp3".'
    # What a browser sends where no file was chosen, and a field where a file was due.
    for file in (file_part(b"", ""), file_part(song, ""), field("file", song[:4000]), field("file", "")):
        assert refused(body(STEMS, file)) == nameless
        assert refused(body(*[field(str(number), "x") for number in range(30)], file, STEMS)) == nameless


def test_encoded_parts(
    app: Flask, client: FlaskClient, account: Account, refused: Any, song: bytes
) -> None:
    head = 'name="file"; filename="song.wav"'
    for encoding in ("base64", "Base64", "quoted-printable", "x-uuencode"):
        line = f"Content-Transfer-Encoding: {encoding}"
        said = "Content-Transfer-Encoding={!r} of the part {!r} is not decoded here: its content must be sent as it is."
        assert refused(body(part(head, base64.b64encode(song), line), STEMS)) == said.format(encoding, "file")
        assert refused(body(file_part(song), part('name="stems"', b"Mg==", line))) == said.format(encoding, "stems")
    others = part('name="x"', b"Mg==", "Content-Transfer-Encoding: base64")
    job_of(app, post(client, account.headers, body(file_part(song), others, STEMS)))
    for encoding in ("", "binary", "8bit", "7BIT"):
        line = f"Content-Transfer-Encoding: {encoding}"
        job_of(app, post(client, account.headers, body(part(head, song, line), part('name="stems"', b"2", line))))


def test_an_empty_file(refused: Any) -> None:
    assert refused(body(STEMS, file_part(b"", "empty.mp3"))) == "The file 'empty.mp3' is empty."


def test_bodies_of_another_type(refused: Any, client: FlaskClient, account: Account, song: bytes) -> None:
    for content, content_type in (
        (json.dumps({"file": "song.wav", "stems": 2}).encode(), "application/json"),
        (b"file=song.wav&stems=2", "application/x-www-form-urlencoded"),
        (song, "audio/wav"),
        (body(file_part(song), STEMS), f"multipart/mixed; boundary={BOUNDARY}"),
        (body(file_part(song), STEMS), "x" * 9000),
        (body(file_part(song), STEMS), ""),
    ):
        message = refused(content, content_type)
        assert message == f"Content-Type={content_type.split(';')[0][:64]!r} must be multipart/form-data."
    assert "multipart/form-data" in error_of(client.post(URL, headers=account.headers))


def test_boundaries(app: Flask, client: FlaskClient, account: Account, refused: Any, song: bytes) -> None:
    rule = "Content-Type must name a boundary of 1 to 200 ASCII characters."
    for boundary in ("", "; boundary=", '; boundary=""', f"; boundary={'b' * 201}", "; charset=a"):
        assert refused(body(file_part(song), STEMS), f"multipart/form-data{boundary}") == rule, boundary
    for boundary in ("other", "gr\xfc\xdf", "b" * 200, f"{BOUNDARY}-", '".*"', '"(["', '"a\\\\"'):
        refused(body(file_part(song), STEMS), f"multipart/form-data; boundary={boundary}")
    for boundary in ("b", "=_?+'()[]*.|^$", "b" * 200, "----WebKitFormBoundary7MA4YWxkTrZu0gW"):
        content = body(file_part(song), STEMS, boundary=boundary)
        job_of(app, post(client, account.headers, content, f'Multipart/Form-Data; Boundary="{boundary}"'))


def test_bodies_that_end_early(refused: Any, song: bytes) -> None:
    whole = body(file_part(song), STEMS)
    for length in (0, 1, 20, 100, 1000, len(whole) // 2, len(whole) - 5, len(whole) - 4):
        refused(whole[:length])
    for length in (100, len(whole) // 2):  # the connection broke: less came than was announced
        refused(whole[:length], content_length=len(whole))
    for length in ("", "not a number", "-5", "0"):
        refused(whole, environ_overrides={"CONTENT_LENGTH": length})


def test_junk_around_the_parts(
    app: Flask, client: FlaskClient, account: Account, refused: Any, song: bytes
) -> None:
    refused(bytes(300_000))
    refused(b"no boundary anywhere " * 100_000)
    refused(body(b"X-Header: without a disposition\r\n\r\n", file_part(song), STEMS))
    refused(body(file_part(song).replace(b"\r\n\r\n", b"\r\n", 1), STEMS))
    for content in (
        b"a preamble\r\n" + body(file_part(song), STEMS) + b"an epilogue" * 9,
        body(part('filename="song.wav"; NAME=file', song, "content-type: " + "x" * 999), STEMS),
    ):
        job_of(app, post(client, account.headers, content))


def test_floods(refused: Any, song: bytes) -> None:
    many = [f"X-Header-{number}: {'x' * 90}" for number in range(20_000)]
    for content in (
        body(part('name="file"; filename="song.wav"', song, *many), STEMS),
        body(part(f'name="{"n" * MAX_HEADERS_BYTES}"', b""), file_part(song), STEMS),
        body(part(f'name="{"n" * 2_000_000}"', b""), file_part(song), STEMS),
        body(*[field(f"field{number}", "x") for number in range(10_000)], file_part(song), STEMS),
        body(file_part(song), STEMS, *[STEMS] * 10_000),
        body(*[file_part(song[:99], f"{number}.wav") for number in range(10_000)], STEMS),
    ):
        assert refused(content) == "The form must not have more than 100 parts, nor one with headers over 65536 bytes."


def test_fields_that_nobody_knows_are_read_past(
    app: Flask, client: FlaskClient, account: Account, song: bytes
) -> None:
    for more in (field("comment", "x" * 700_000), part("x=y", b"x"), part(b'name="st\xe9ms"', b"9")):
        job_of(app, post(client, account.headers, body(more, file_part(song), STEMS)))


def test_names_that_are_not_utf_8(app: Flask, client: FlaskClient, account: Account, song: bytes) -> None:
    for raw, name in (
        (b"gr\xfc\xdfe.wav", "grüße.wav"),
        (b"\x84Caf\xe9\x93 \x96 5\x80.wav", "„Café“ – 5€.wav"),
        (b"\x81.wav", "\ufffd.wav"),
        ("größe.wav".encode(), "größe.wav"),
    ):
        named = part(b'name="file"; filename="' + raw + b'"', song)
        assert job_of(app, post(client, account.headers, body(named, STEMS))).original_name == name


def test_values_that_are_not_utf_8(refused: Any, song: bytes) -> None:
    assert refused(body(file_part(song), field("stems", b"\xff2"))) == "stems='\ufffd2' must be 2, 4 or 5."


def test_a_body_of_unknown_length(app: Flask, client: FlaskClient, account: Account, song: bytes) -> None:
    whole = body(file_part(song), STEMS)
    job_of(app, stream(client, account.headers, Padded(whole, 0, b"")))
    error_of(stream(client, account.headers, Padded(whole[:-9], 0, b"")))


def test_a_connection_that_breaks_gets_an_answer(app: Flask, client: FlaskClient, account: Account) -> None:
    class Broken(Padded):
        def readinto(self, buffer: Any) -> int:
            raise ConnectionResetError

    error_of(stream(client, account.headers, Broken(b"", 0, b"")))
    assert_nothing_left(app)
