"""The worker's loop over its clients' sockets, turned by hand."""

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from ezstems.server.gunicorn_worker import GunicornWorker
from ezstems.server.seats import Seats


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture
def worker(listener: socket.socket) -> GunicornWorker:
    """Return a worker that may have one connection, without the process around it."""
    worker = object.__new__(GunicornWorker)
    worker.cfg = SimpleNamespace(is_ssl=False)
    worker.worker_connections, worker.nr_conns = 2, 0
    worker.keepalived_conns, worker.pending_conns, worker._lingering = deque(), deque(), deque()
    worker._seats = Seats()
    worker.poller = selectors.DefaultSelector()
    worker.poller.register(listener, selectors.EVENT_READ, worker.accept)
    return worker


def test_a_connection_whose_place_was_given_away_in_the_same_turn_is_left_alone(
    worker: GunicornWorker, listener: socket.socket
) -> None:
    with socket.create_connection(listener.getsockname()) as first:
        worker.wait_for_and_dispatch_events(10)
        (answered,) = worker.pending_conns
        worker._forget(answered, worker.pending_conns)
        worker._linger(answered)
        with socket.create_connection(listener.getsockname()):
            first.sendall(b"the rest of a body")
            deadline = time.monotonic() + 60
            while len(worker.poller.select(1)) < 2:
                assert time.monotonic() < deadline
            worker.wait_for_and_dispatch_events(10)  # the new connection first, which takes the place
            assert answered.sock.fileno() < 0 and not worker._lingering
            assert len(worker.pending_conns) == worker.nr_conns == 1
            worker._close_first(worker.pending_conns)
