"""A request's body whose sender misbehaves."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from flask import Flask
from gunicorn.http.errors import InvalidChunkSize, NoMoreData

from ezstems.database import db
from ezstems.errors import BadInput, RateLimited, ServerFull, Unauthenticated
from ezstems.server.client_socket import TooManySlow, TooSlow
from ezstems.server.request_body import RequestBody
from ezstems.web.auth import authenticate_key
from tests.conftest import Account


class Stream:
    """Fail as gunicorn does."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, _size: int | None) -> bytes:
        raise self._error


class Socket:
    """Tell whom it was told to trust, and whether it was told that it is drained."""

    expectation = None
    trusted: int | None = None
    drained = False

    def trust(self, account_id: int) -> None:
        self.trusted = account_id

    @contextmanager
    def draining(self) -> Iterator[None]:
        self.drained = True
        yield


@pytest.mark.parametrize("error", [InvalidChunkSize(b"zz"), NoMoreData(), ConnectionResetError(), TooSlow()])
def test_nonsense_and_a_client_that_dawdles_or_has_gone_are_bad_input(app: Flask, error: Exception) -> None:
    with app.test_request_context(), pytest.raises(BadInput, match="malformed"):
        RequestBody(Stream(error), Socket()).read(3)


def test_one_slow_client_too_many_is_told_to_come_again(app: Flask) -> None:
    with app.test_request_context(), pytest.raises(ServerFull, match="Try again later"):
        RequestBody(Stream(TooManySlow()), Socket()).read(3)


def test_only_who_was_identified_and_has_calls_left_is_trusted(
    app: Flask, make_account: Callable[..., Account]
) -> None:
    account = make_account(rate_limit=1)
    for headers, trusted in (({}, None), (account.headers, account.user_id), (account.headers, None)):
        socket = Socket()
        with app.test_request_context(headers=headers):
            with suppress(Unauthenticated, RateLimited):
                authenticate_key()
            assert RequestBody(io.BytesIO(b"abc"), socket).read(2) == b"ab"
        assert socket.trusted == trusted


def test_what_nobody_reads_is_thrown_away_within_a_bound(app: Flask) -> None:
    socket, rest = Socket(), io.BytesIO(b"abc")
    with app.test_request_context():
        RequestBody(rest, socket).drain()
    assert socket.drained and rest.read() == b""


def test_the_body_of_a_request_that_is_refused_before_its_view_is_thrown_away_too(app: Flask) -> None:
    socket, rest = Socket(), io.BytesIO(b"abc")
    environ = {"gunicorn.socket": socket, "wsgi.input": rest, "CONTENT_LENGTH": "3"}
    answer = app.test_client().post("/api/v1/upload.php", headers={"Host": "a/b"}, environ_overrides=environ)
    assert answer.status_code == 400
    assert "Host='a/b'" in answer.json["message"]
    assert socket.drained and rest.read() == b"", "a client that is still sending would see a broken pipe"


def test_who_waits_for_a_client_holds_no_database_connection(app: Flask) -> None:
    with app.test_request_context():
        db.session.connection()
        assert db.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
        RequestBody(io.BytesIO(b"abc"), Socket()).read()
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
