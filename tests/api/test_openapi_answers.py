"""What `/api/openapi.json` says of each call's answers, held against real ones: each kind of success, each error."""

import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.jobs import OUTPUTS, STEMS
from ezstems.models import MAX_KEY_NAME, ApiKey, IdempotencyKey, Job, utcnow
from ezstems.web.errors import MALFORMED, TITLES
from tests.conftest import PASSWORD, Account
from tests.support.kept import lose_upload
from tests.support.multipart import CONTENT_TYPE, Upload, body, field, job_of, part
from tests.support.openapi import EXAMPLE_ID, conform, operations, served
from tests.support.separation_box import fill_queue
from tests.support.separators import FastSeparator

Call = Callable[[], TestResponse]


@dataclass
class World:
    """Hold what the answers need: a caller with a key, one with a session, and an error that comes at will."""

    app: Flask
    account: Account
    session: FlaskClient
    token: str
    calls: dict[str, dict[str, Any]]
    error: Exception | None = None

    def call(self, method: str, name: str, query: str = "", **options: Any) -> TestResponse:
        """Call an endpoint, with the key unless other headers are given."""
        headers = options.pop("headers", self.account.headers)
        url = f"/api/v1/{name}.php{query}"
        return self.app.test_client().open(url, method=method, headers=headers, **options)

    def in_session(self, method: str, query: str = "", token: bool = True, **options: Any) -> TestResponse:
        """Call keys.php from the website's session."""
        headers = {"X-CSRFToken": self.token} if token else {}
        return self.session.open(f"/api/v1/keys.php{query}", method=method, headers=headers, **options)

    def change(self, row: type, **values: Any) -> None:
        """Change every row of a kind."""
        with self.app.app_context():
            db.session.execute(update(row).values(**values))
            db.session.commit()

    def failing(self, error: Exception, call: Call) -> TestResponse:
        """Make a call that meets an error before it gets to its view."""
        self.error = error
        try:
            return call()
        finally:
            self.error = None

    def used_up(self, call: Call) -> TestResponse:
        """Make a call with a key that has none left."""
        self.change(ApiKey, window_calls=100, window_started_at=utcnow())
        try:
            return call()
        finally:
            self.change(ApiKey, window_calls=0)


@pytest.fixture
def world(app: Flask, account: Account) -> Iterator[World]:
    session = app.test_client()
    meta = re.compile(r'<meta name="csrf-token" content="([^"]+)">')
    form = {"email": account.email, "password": PASSWORD, "csrf_token": meta.search(session.get("/login").text)[1]}
    assert session.post("/login", data=form).status_code == 302
    made = World(app, account, session, meta.search(session.get("/account").text)[1], operations(served(session)))

    def fail() -> None:
        if made.error is not None:
            raise made.error

    app.before_request_funcs[None].append(fail)
    yield made


def common(world: World, call: Callable[..., TestResponse], path: str) -> dict[str, Call]:
    """Return how to provoke what every call may meet."""
    full = OperationalError("", {}, Exception("database or disk is full"))
    held = OperationalError("", {}, Exception("database is locked"))
    return {
        "405 wrong method": lambda: world.call("PUT", path),
        "500 crash": lambda: world.failing(RuntimeError("secret"), call),
        "500 full disk": lambda: world.failing(full, call),
        "500 busy database": lambda: world.failing(held, call),
    }


def with_key(world: World, call: Callable[..., TestResponse]) -> dict[str, Call]:
    """Return how to provoke what every call with a key may meet."""
    return {
        "401 no key": lambda: call(headers={}),
        "401 unknown key": lambda: call(headers={"Authorization": "Bearer unknown"}),
        "403 too many calls": lambda: world.used_up(call),
    }


def hold_against(world: World, operation: str, provoked: dict[str, Call], known_id: str = EXAMPLE_ID) -> None:
    """Provoke every error that is documented, and find it answered to the letter; gunicorn's own can't be, here."""
    described = world.calls[operation]
    documented = {
        f"{status} {name.replace('-', ' ')}": example["value"]
        for status, answer in described["responses"].items()
        if status >= "400"
        for name, example in answer["content"]["application/json"]["examples"].items()
    }
    assert documented.pop("400 malformed HTTP") == {"error": TITLES[400], "message": MALFORMED}
    assert set(provoked) == set(documented)
    for name, call in provoked.items():
        answer = call()
        conform(answer, described)
        assert answer.status_code == int(name[:3]), name
        said = re.sub(rf"\b{known_id}\b", EXAMPLE_ID, answer.json["message"])
        said = re.sub(r"again in \d+ s", "again in 60 s", said)  # the window: no wait is longer
        said = re.sub(r"request id [0-9a-f]{32}", "request id 3fa85f6457174562b3fc2c963f66afa6", said)
        assert {"error": answer.json["error"], "message": said} == documented[name], name


def example(world: World, operation: str, name: str) -> dict[str, Any]:
    """Return a documented answer of a call that succeeds."""
    content = world.calls[operation]["responses"]["200"]["content"]["application/json"]
    return content["examples"][name]["value"]


def test_upload(
    world: World, song: bytes, monkeypatch: pytest.MonkeyPatch, done: Callable[..., Job], separator: FastSeparator
) -> None:
    source = done()

    def again(source_id: str = source.id, **changes: Any) -> TestResponse:
        if changes:
            world.change(Job, **changes)
        form = {"source": source_id, "stems": "4"}
        return world.call("POST", "upload", data=form, content_type="application/x-www-form-urlencoded")

    assert again().status_code == 200
    conform(again(), world.calls["uploadSong"])
    separator.hold()

    def call(content: bytes = song, name: str = "song.wav", headers: Any = None, **fields: str) -> TestResponse:
        form = {"file": (io.BytesIO(content), name), "stems": "2"} | fields
        return world.call("POST", "upload", data=form, headers=world.account.headers if headers is None else headers)

    def full() -> TestResponse:
        with monkeypatch.context() as patched:
            fill_queue(patched)
            return call()

    def crowded() -> TestResponse:
        with monkeypatch.context() as patched:
            patched.setattr(Job, "unfinished", lambda user_id: 1000)
            return call()

    keyed = world.account.headers | {"Idempotency-Key": "7d1f9c52-58a0-4e4b-9b1c-0a3c1e3a4c55"}

    def in_progress() -> TestResponse:
        world.change(IdempotencyKey, answer=None, leased_until=utcnow() + timedelta(seconds=20))
        return call(headers=keyed)

    encoded = part('name="file"; filename="song.wav"', b"UklGRg==", "Content-Transfer-Encoding: base64")
    declared = {"CONTENT_LENGTH": str(2**30), "CONTENT_TYPE": "multipart/form-data; boundary=x"}
    provoked = {
        "400 no form": lambda: world.call("POST", "upload", json={}),
        "400 no file": lambda: world.call("POST", "upload", data={"stems": "2"}, content_type="multipart/form-data"),
        "400 no filename": lambda: world.call(
            "POST", "upload", data={"file": "x", "stems": "2"}, content_type="multipart/form-data"
        ),
        "400 encoded file": lambda: world.call(
            "POST", "upload", data=body(encoded, field("stems", "2")), content_type=CONTENT_TYPE
        ),
        "400 other extension": lambda: call(name="song.ogg"),
        "400 other stems": lambda: call(stems="3"),
        "400 other cutoff": lambda: call(cutoff="8kHz"),
        "400 other output": lambda: call(output="tape"),
        "400 webhooks off": lambda: call(webhook_url="https://example.com/hook"),
        "400 empty file": lambda: call(b"", name="song.mp3"),
        "400 file and source": lambda: call(source=source.id),
        "400 malformed source": lambda: again("abc"),
        "400 long metadata": lambda: call(metadata="x" * 513),
        "400 metadata of two lines": lambda: call(metadata="two\nlines"),
        "404 unknown source": lambda: again(EXAMPLE_ID),
        "500 lost upload": lambda: lose_upload(world.app, source) or again(),
        "400 upload not kept": lambda: again(keeps_upload=False, status="completed"),
        "404 expired source": lambda: again(expired_at=utcnow()),
        "400 large file": lambda: world.call("POST", "upload", environ_overrides=declared),
        "400 other content": lambda: call(b"no music", name="song.mp3"),
        "400 malformed key": lambda: call(headers=world.account.headers | {"Idempotency-Key": "a b"}),
        "400 other upload under the key": lambda: (call(headers=keyed), call(headers=keyed, stems="4"))[1],
        "400 upload in progress": in_progress,
        "403 too many unfinished jobs": crowded,
        "500 full queue": full,
    }
    hold_against(world, "uploadSong", provoked | with_key(world, call) | common(world, call, "upload"), source.id)
    others = {"stems": " 4 ", "cutoff": "16000", "output": "OGG", "more": "ignored"}
    for fields in ({"metadata": "x", "source": " "}, others, {"stems": "5"}):
        answer = call(**fields)
        assert answer.status_code == 200
        conform(answer, world.calls["uploadSong"])
    again = [call(headers=world.account.headers | {"Idempotency-Key": "k"}) for _ in range(2)][1]
    assert again.status_code == 200 and again.headers["Idempotent-Replayed"] == "true"
    conform(again, world.calls["uploadSong"])


def test_status(
    world: World, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job]
) -> None:
    described = world.calls["getStatus"]

    def call(query: str = f"?id={EXAMPLE_ID}", headers: Any = None) -> TestResponse:
        headers = world.account.headers if headers is None else headers
        return world.call("GET", "status", query, headers=headers)

    def state(job_id: str) -> str:
        answer = call(f"?id=junk&id=%20{job_id}%0a&more=ignored")
        assert answer.status_code == 200
        conform(answer, described)
        return answer.json["data"]["status"]

    separator.hold()
    running, waiting = (job_of(world.app, upload()) for _ in range(2))
    assert separator.started.wait(60)
    waited = call(f"?id={waiting.id}", world.account.headers | {"Prefer": "wait=1"})
    assert waited.headers["Preference-Applied"] == "wait=1" and waited.headers["Retry-After"]
    conform(waited, described)
    deadline = time.monotonic() + 60
    while state(running.id) != "processing" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [state(running.id), state(waiting.id)] == ["processing", "queued"]
    separator.release()
    finished(waiting.id)
    assert state(waiting.id) == "completed"
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    failed = finished(upload().json["data"]["id"])
    assert state(failed.id) == "failed"

    def expired() -> TestResponse:
        world.change(Job, expired_at=utcnow())
        return call(f"?id={failed.id}")

    provoked = {
        "400 no id": lambda: call(""),
        "400 malformed id": lambda: call("?id=abc"),
        "404 unknown id": call,
        "404 expired": expired,
    }
    hold_against(world, "getStatus", provoked | with_key(world, call) | common(world, call, "status"), failed.id)


def test_download(
    world: World, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job]
) -> None:
    def call(query: str = f"?id={EXAMPLE_ID}", headers: Any = None, **more: str) -> TestResponse:
        headers = (world.account.headers if headers is None else headers) | more
        return world.call("GET", "download", query, headers=headers)

    job = finished(upload().json["data"]["id"])
    whole = call(f"?id={job.id}")
    etag = whole.headers["ETag"]
    for status, headers in (
        (200, {}),
        (200, {"Range": "items=1-2"}),
        (200, {"If-None-Match": '"other"', "X-Request-ID": "mine"}),
        (200, {"Range": "bytes=1-", "If-Range": '"other"'}),
        (206, {"Range": "bytes=1-"}),
        (304, {"If-None-Match": etag}),
    ):
        answer = call(f"?id={job.id}", **headers)
        assert answer.status_code == status, headers
        conform(answer, world.calls["downloadStems"])

    def in_state(status: str, **values: Any) -> Call:
        def get() -> TestResponse:
            world.change(Job, status=status, **values)
            return call(f"?id={job.id}")

        return get

    provoked = {
        "400 no id": lambda: call(""),
        "400 malformed id": lambda: call("?id=abc"),
        "400 unknown stem": lambda: call(f"?id={job.id}&stem=piano"),
        "400 not finished": in_state("queued"),
        "400 failed": in_state("failed", error="The file holds no decodable audio."),
        "404 unknown id": call,
        "416 range past the end": lambda: in_state("completed")() and call(f"?id={job.id}", Range="bytes=99999-"),
        "500 damaged stems": in_state("completed", result_bytes=1),
        "404 expired": in_state("completed", expired_at=utcnow()),
    }
    hold_against(world, "downloadStems", provoked | with_key(world, call) | common(world, call, "download"), job.id)


@pytest.mark.parametrize("output", OUTPUTS)
def test_downloading_a_stem(world: World, done: Callable[..., Job], output: str) -> None:
    job = done(output=output)
    for name in STEMS[2]:
        for status, headers in ((200, {}), (206, {"Range": "bytes=1-"})):
            answer = world.call("GET", "download", f"?id={job.id}&stem={name}", headers=world.account.headers | headers)
            assert answer.status_code == status
            conform(answer, world.calls["downloadStems"])


def test_listing_jobs(
    world: World, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job], done: Callable[..., Job]
) -> None:
    def call(query: str = "", headers: Any = None) -> TestResponse:
        return world.call("GET", "jobs", query, headers=world.account.headers if headers is None else headers)

    job = done(metadata="order 4711")
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    finished(upload().json["data"]["id"])
    separator.hold()
    separator.started.clear()
    upload(), upload()
    assert separator.started.wait(60)
    for query in ("", f"?ids={job.id},{EXAMPLE_ID}&limit=1", f"?before={job.id}", "?status=queued"):
        answer = call(query)
        assert answer.status_code == 200
        conform(answer, world.calls["listJobs"])
    provoked = {
        "400 other limit": lambda: call("?limit=101"),
        "400 malformed before": lambda: call("?before=abc"),
        "400 other status": lambda: call("?status=done"),
        "400 malformed ids": lambda: call("?ids=abc"),
        "400 many ids": lambda: call(f"?ids={','.join([EXAMPLE_ID] * 101)}"),
        "404 unknown before": lambda: call(f"?before={EXAMPLE_ID}"),
    }
    hold_against(world, "listJobs", provoked | with_key(world, call) | common(world, call, "jobs"))


def test_deleting_jobs(world: World, done: Callable[..., Job]) -> None:
    def call(query: str = f"?id={EXAMPLE_ID}", headers: Any = None) -> TestResponse:
        return world.call("DELETE", "jobs", query, headers=world.account.headers if headers is None else headers)

    job = done()
    answer = call(f"?id={job.id}")
    assert answer.status_code == 200 and answer.json == example(world, "deleteJob", "deleted")
    conform(answer, world.calls["deleteJob"])
    provoked = {
        "400 no id": lambda: call(""),
        "400 malformed id": lambda: call("?id=abc"),
        "404 unknown id": call,
        "404 expired": lambda: call(f"?id={job.id}"),
    }
    hold_against(world, "deleteJob", provoked | with_key(world, call) | common(world, call, "jobs"), job.id)


def test_listing_keys(world: World) -> None:
    def call(headers: Any = None) -> TestResponse:
        return world.call("GET", "keys", headers=world.account.headers if headers is None else headers)

    for listed in (world.in_session("GET"), call()):
        assert listed.status_code == 200
        conform(listed, world.calls["listKeys"])
    hold_against(world, "listKeys", with_key(world, call) | common(world, call, "keys"))


def test_deactivating_keys(world: World) -> None:
    def call(headers: Any = None) -> TestResponse:
        return world.call("DELETE", "keys", "?id=abc", headers=world.account.headers if headers is None else headers)

    provoked = {
        "400 session without token": lambda: world.in_session("DELETE", token=False),
        "400 session names no key": lambda: world.in_session("DELETE"),
        "404 session names an unknown key": lambda: world.in_session("DELETE", "?id=7"),
    }
    hold_against(world, "deactivateKey", provoked | with_key(world, call) | common(world, call, "keys"))
    for answer in (call(), world.in_session("DELETE", "?id=1")):
        assert answer.status_code == 200
        conform(answer, world.calls["deactivateKey"])
        assert answer.json == example(world, "deactivateKey", "deactivated")


def test_making_keys(world: World) -> None:
    def call() -> TestResponse:
        return world.call("POST", "keys")

    long = {"name": "x" * (MAX_KEY_NAME + 1)}
    provoked = {
        "400 session without token": lambda: world.in_session("POST", token=False),
        "400 long name": lambda: world.in_session("POST", data=long),
        "401 no session": call,
    }
    hold_against(world, "createKey", provoked | common(world, call, "keys"))
    name = world.calls["createKey"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["name"]
    for sent in ("", " ", "laptop", " Größe ♫ ", "x" * MAX_KEY_NAME):
        answer = world.in_session("POST", data={"name": sent})
        assert answer.status_code == 200 and Draft202012Validator(name).is_valid(sent)
        conform(answer, world.calls["createKey"])
    assert not Draft202012Validator(name).is_valid(long["name"])
    made = world.in_session("POST")
    conform(made, world.calls["createKey"])
    assert made.json["data"]["message"] == example(world, "createKey", "made")["data"]["message"]
