"""An account has so many unfinished jobs and no more, however many uploads come at once, wherever they arrive."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ezstems.jobs.incoming import Incoming
from tests.conftest import IN_CLUSTER, Account
from tests.support.callers import Caller
from tests.support.multipart import uploads
from tests.support.separators import FastSeparator
from tests.support.servers import Server
from tests.support.sessions import log_in, token

BOUND = 2
TOLD = "The account may have 2 unfinished jobs at a time, and has. Try again when one has finished."
JSON = {"Accept": "application/json"}


@pytest.fixture
def app(make_app: Callable[..., Flask], separator: FastSeparator) -> Flask:
    separator.hold()
    return make_app(account_jobs=BOUND)


@pytest.fixture
def full(app: Flask, upload: Callable[..., TestResponse]) -> list[str]:
    """Return the jobs of an account that may have no more."""
    return [upload().json["data"]["id"] for _ in range(BOUND)]


def refused(answer: TestResponse) -> bool:
    assert answer.status_code == 403
    assert answer.json == {"error": "Too many jobs", "message": TOLD}
    return int(answer.headers["Retry-After"]) > 0


def test_one_more_is_refused_before_its_file_is_stored(
    app: Flask, full: list[str], upload: Callable[..., TestResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored(_incoming: Incoming, _block: bytes) -> None:
        raise AssertionError("the file was stored")

    with monkeypatch.context() as patched:
        patched.setattr(Incoming, "write", stored)
        answer = upload()
        assert refused(answer) and answer.headers["X-RateLimit-Remaining"] == "97"
    assert len(uploads(app)) == BOUND


def test_other_accounts_go_on_and_a_finished_job_makes_room(
    full: list[str],
    upload: Callable[..., TestResponse],
    finished: Callable[[str], object],
    make_account: Callable[..., Account],
    separator: FastSeparator,
) -> None:
    assert upload(who=make_account("other@example.com")).status_code == 200
    assert refused(upload())
    separator.release()
    finished(full[0])
    assert upload().status_code == 200


def test_a_deleted_job_makes_room(
    full: list[str], client: FlaskClient, account: Account, upload: Callable[..., TestResponse]
) -> None:
    log_in(client, account.email)
    client.post(f"/songs/{full[1]}/delete", data={"csrf_token": token(client, "/songs")})
    assert upload().status_code == 200
    assert refused(upload())


def test_the_website_says_so_too(full: list[str], client: FlaskClient, account: Account, song: bytes) -> None:
    log_in(client, account.email)
    headers = {"X-CSRFToken": token(client, "/upload")}
    assert refused(client.post("/upload", data=b"", headers=headers | JSON))
    page = client.post("/upload", data=b"", headers=headers)
    assert page.status_code == 403 and TOLD in page.text and int(page.headers["Retry-After"]) > 0


def test_the_description_names_it(client: FlaskClient) -> None:
    document = client.get("/api/openapi.json").json
    assert "Unfinished jobs of an account: 2, waiting and running ones together." in document["info"]["description"]
    described = document["paths"]["/api/v1/upload.php"]["post"]["responses"]["403"]["content"]["application/json"]
    assert {"error": "Too many jobs", "message": TOLD} in [each["value"] for each in described["examples"].values()]


@pytest.fixture
def server(instance: Path) -> Iterator[Server]:
    with Server(instance, workers=2, account_jobs=5) as running:
        yield running


def test_it_is_exact_while_uploads_hammer_two_workers(server: Server, song: bytes) -> None:
    server.hold()
    caller = Caller(server, server.key())

    def send(_: int) -> requests.Response:
        files, data = {"file": ("song.wav", song)}, {"stems": 2}
        return requests.post(f"{server.api}/upload.php", files=files, data=data, headers=caller.headers, timeout=120)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(48)))
        while len({answer.headers["X-Worker"] for answer in answers}) < 2:  # the other stood still
            assert len(answers) < 1000
            answers += pool.map(send, range(16))
    assert Counter(answer.status_code for answer in answers) == {200: 5, 403: len(answers) - 5}
    assert len(server.rows("SELECT id FROM jobs")) == 5
    if not IN_CLUSTER:
        assert len(server.uploads()) == 5
    # The seats of those that were refused are free again: the others' jobs end, and as many find room once more.
    server.release()
    for answer in answers:
        if answer.status_code == 200:
            caller.wait(answer.json()["data"]["id"])
    server.hold()
    with ThreadPoolExecutor(16) as pool:
        assert Counter(answer.status_code for answer in pool.map(send, range(16))) == {200: 5, 403: 11}
