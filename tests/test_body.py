"""A request's body whose sender misbehaves."""

import io

import pytest
from flask import Flask, g
from gunicorn.http.errors import InvalidChunkSize, NoMoreData

from ezstems.database import db
from ezstems.errors import BadInput, ServerFull
from ezstems.web.body import Body
from ezstems.web.patience import Crowded, TooSlow


class Stream:
    """Fail as gunicorn does."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, _size: int | None) -> bytes:
        raise self._error


class Socket:
    """Tell whether it was told to trust its client."""

    trusted = False

    def trust(self) -> None:
        self.trusted = True


@pytest.mark.parametrize("error", [InvalidChunkSize(b"zz"), NoMoreData(), ConnectionResetError(), TooSlow()])
def test_nonsense_and_a_client_that_dawdles_or_has_gone_are_bad_input(app: Flask, error: Exception) -> None:
    with app.test_request_context(), pytest.raises(BadInput, match="malformed"):
        Body(Stream(error), Socket()).read(3)


def test_one_slow_client_too_many_is_told_to_come_again(app: Flask) -> None:
    with app.test_request_context(), pytest.raises(ServerFull, match="Try again later"):
        Body(Stream(Crowded()), Socket()).read(3)


@pytest.mark.parametrize("known", [True, False])
def test_only_who_was_identified_is_trusted(app: Flask, known: bool) -> None:
    socket = Socket()
    with app.test_request_context():
        if known:
            g.user = object()
        assert Body(io.BytesIO(b"abc"), socket).read(2) == b"ab"
    assert socket.trusted is known


def test_who_waits_for_a_client_holds_no_database_connection(app: Flask) -> None:
    with app.test_request_context():
        db.session.connection()
        assert db.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
        Body(io.BytesIO(b"abc"), Socket()).read()
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
