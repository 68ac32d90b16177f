"""A request's body whose sender misbehaves."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from flask import Flask
from gunicorn.http.errors import InvalidChunkSize, NoMoreData

from ezstems.database import db
from ezstems.errors import BadInput, RateLimited, ServerFull, Unauthenticated
from ezstems.server.client_socket import Crowded, TooSlow
from ezstems.server.request_body import Body
from ezstems.web.auth import authenticate_key
from tests.conftest import Account


class Stream:
    """Fail as gunicorn does."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, _size: int | None) -> bytes:
        raise self._error


class Socket:
    """Tell whom it was told to trust, and whether it was told to hurry."""

    expectation = None
    trusted: int | None = None
    hurried = False

    def trust(self, account_id: int) -> None:
        self.trusted = account_id

    @contextmanager
    def hurry(self) -> Iterator[None]:
        self.hurried = True
        yield


@pytest.mark.parametrize("error", [InvalidChunkSize(b"zz"), NoMoreData(), ConnectionResetError(), TooSlow()])
def test_nonsense_and_a_client_that_dawdles_or_has_gone_are_bad_input(app: Flask, error: Exception) -> None:
    with app.test_request_context(), pytest.raises(BadInput, match="malformed"):
        Body(Stream(error), Socket()).read(3)


def test_one_slow_client_too_many_is_told_to_come_again(app: Flask) -> None:
    with app.test_request_context(), pytest.raises(ServerFull, match="Try again later"):
        Body(Stream(Crowded()), Socket()).read(3)


def test_only_who_was_identified_and_has_calls_left_is_trusted(
    app: Flask, make_account: Callable[..., Account]
) -> None:
    account = make_account(rate_limit=1)
    for headers, trusted in (({}, None), (account.headers, account.user_id), (account.headers, None)):
        socket = Socket()
        with app.test_request_context(headers=headers):
            with suppress(Unauthenticated, RateLimited):
                authenticate_key()
            assert Body(io.BytesIO(b"abc"), socket).read(2) == b"ab"
        assert socket.trusted == trusted


def test_what_nobody_reads_is_thrown_away_in_a_hurry(app: Flask) -> None:
    socket, rest = Socket(), io.BytesIO(b"abc")
    with app.test_request_context():
        Body(rest, socket).drain()
    assert socket.hurried and rest.read() == b""


def test_who_waits_for_a_client_holds_no_database_connection(app: Flask) -> None:
    with app.test_request_context():
        db.session.connection()
        assert db.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
        Body(io.BytesIO(b"abc"), Socket()).read()
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
