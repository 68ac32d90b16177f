"""A request's body whose sender misbehaves."""

import socket

import pytest
from gunicorn.http.errors import InvalidChunkSize, NoMoreData

from ezstems.errors import BadInput
from ezstems.web import body


class Stream:
    """Read a socket as gunicorn does, or fail as it does."""

    def __init__(self, connection: socket.socket, error: Exception | None = None) -> None:
        self._connection = connection
        self._error = error

    def read(self, size: int) -> bytes:
        if self._error is not None:
            raise self._error
        return self._connection.recv(size)


def test_what_arrives_is_read_and_the_socket_left_as_it_was() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abc")
        assert body.Body(Stream(ours), ours).read(3) == b"abc"
        assert ours.gettimeout() is None


def test_a_stall_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "STALL_SECONDS", 0.05)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(BadInput, match="stopped arriving"):
            body.Body(Stream(ours), ours).read(3)
        assert ours.gettimeout() is None


@pytest.mark.parametrize("error", [InvalidChunkSize(b"zz"), NoMoreData(), ConnectionResetError()])
def test_nonsense_and_a_client_that_has_gone_are_bad_input(error: Exception) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(BadInput, match="malformed"):
        body.Body(Stream(ours, error), ours).read(3)
