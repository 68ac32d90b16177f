"""Multipart bodies put together byte by byte, for what no client library would send; and what an upload left."""

import io
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.jobs import storage
from ezstems.models import Job

URL = "/api/v1/upload.php"
BOUNDARY = "EzStemsTestBoundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

Upload = Callable[..., TestResponse]


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def part(disposition: str | bytes, content: bytes | str = b"", *lines: str | bytes) -> bytes:
    """Build a part from what stands behind `form-data; ` in its Content-Disposition, its content, more header lines."""
    head = [b"Content-Disposition: form-data; " + _bytes(disposition), *map(_bytes, lines)]
    return b"\r\n".join([*head, b"", _bytes(content)])


def file_part(content: bytes, filename: str = "song.wav", name: str = "file") -> bytes:
    """Build the part of a file."""
    return part(f'name="{name}"; filename="{filename}"', content, "Content-Type: application/octet-stream")


def field(name: str, value: str | bytes) -> bytes:
    """Build the part of a short field."""
    return part(f'name="{name}"', value)


def body(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    """Join parts to a whole body."""
    mark = b"--" + boundary.encode()
    return b"".join(mark + b"\r\n" + each + b"\r\n" for each in parts) + mark + b"--\r\n"


def post(
    client: FlaskClient, headers: dict[str, str], content: bytes, content_type: str = CONTENT_TYPE, **options: Any
) -> TestResponse:
    """Send a body as it is; `options` are those of Werkzeug's test client."""
    stream = io.BytesIO(content)
    options = {"content_length": len(content)} | options
    return client.post(URL, input_stream=stream, headers=headers, content_type=content_type, **options)


def stream(
    client: FlaskClient, headers: dict[str, str], content: io.RawIOBase, length: int | None = None, url: str = URL
) -> TestResponse:
    """Send a body as gunicorn hands it over: reading ends with it; without a length it came in chunks."""
    environ: dict[str, Any] = {"wsgi.input": content, "wsgi.input_terminated": True, "CONTENT_TYPE": CONTENT_TYPE}
    environ["gunicorn.socket"] = SimpleNamespace(trust=lambda account_id: None, draining=nullcontext, expectation=None)
    environ |= {"HTTP_TRANSFER_ENCODING": "chunked"} if length is None else {"CONTENT_LENGTH": str(length)}
    return client.post(url, headers=headers, environ_overrides=environ)


class Padded(io.RawIOBase):
    """Read a head, so many zeros, a tail: a large body that takes no memory."""

    def __init__(self, head: bytes, zeros: int, tail: bytes) -> None:
        self._pieces = [io.BytesIO(head), zeros, io.BytesIO(tail)]
        self.length = len(head) + zeros + len(tail)
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._pieces:
            piece = self._pieces[0]
            if isinstance(piece, int):
                count = min(piece, len(buffer))
                buffer[:count] = bytes(count)
                self._pieces[0] = piece - count
            else:
                count = piece.readinto(buffer)
            if count:
                self.taken += count
                return count
            self._pieces.pop(0)
        return 0


def error_of(answer: TestResponse, status: int = 400) -> str:
    """Assert that an answer is the API's error of a status, exactly; return its message."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    assert list(answer.json) == ["error", "message"], answer.text
    assert answer.json["error"] and answer.json["message"]
    return answer.json["message"]


def uploads(app: Flask) -> list[str]:
    """Return the names of the uploads that are kept, by those of their jobs, and of what is half there."""
    bucket = storage.bucket_of(app)
    if bucket is None:
        return sorted(path.name for path in (Path(app.instance_path) / "uploads").iterdir())
    with app.app_context():
        jobs = {job.upload_key: job.filename for job in db.session.scalars(select(Job))}
    kept = [jobs.get(stored.key.name, stored.key.name) for stored in bucket.list("uploads")]
    return sorted(kept + [path.name for path in (Path(app.instance_path) / "scratch").glob("*/*.upload")])


def upload_of(app: Flask, job: Job) -> bytes:
    """Return the content of a job's upload."""
    bucket = storage.bucket_of(app)
    if bucket is None:
        return (Path(app.instance_path) / "uploads" / job.filename).read_bytes()
    return bucket.read(PurePath("uploads", job.upload_key))


def assert_nothing_left(app: Flask, cases: Iterable[object] = ()) -> None:
    """Assert that neither a file nor a row is there."""
    assert uploads(app) == [], cases
    with app.app_context():
        assert db.session.scalar(select(func.count(Job.number))) == 0, cases


def job_of(app: Flask, answer: TestResponse) -> Job:
    """Return the row of an accepted upload, detached."""
    assert answer.status_code == 200, answer.text
    with app.app_context():
        job = db.session.scalars(select(Job).where(Job.id == answer.json["data"]["id"])).one()
        db.session.expunge(job)
        return job
