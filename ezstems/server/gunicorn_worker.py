"""The gunicorn worker: gunicorn's own with threads, none of which waits for a request's head or for an idle client.

To gunicorn's it adds: a head is gathered without a thread; an answered connection that must be closed lingers without
one; where as many clients are connected as may be, the one that was waited for longest makes room; a thread reads and
writes through a `ClientSocket`, which waits only so long. gunicorn promises nothing of what this is built on:
tests/server/test_gunicorn.py names it all, and fails when a release changes it.
"""

import errno
import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from ezstems.server import expectation, malformed
from ezstems.server.client_socket import ClientSocket
from ezstems.server.seats import Seats
from ezstems.server.worker_process import end_waits, repeat_until_done

log = logging.getLogger(__name__)

# A new connection, or one that has begun a request, must have sent the request's head by then.
HEAD_SECONDS = 15.0
# Larger heads are for the parser to refuse, in a thread.
HEAD_BYTES = 64 * 1024
HEAD_END = b"\r\n\r\n"
# A client may still be sending when it was answered; closed at once, its connection would be reset under the answer.
LINGER_SECONDS = 2.0
LINGER_BLOCK_BYTES = 64 * 1024
NO_FILES = errno.EMFILE, errno.ENFILE


class Connection(TConn):
    """Hold a client's socket, and what it has sent of a request's head."""

    def __init__(self, cfg: Any, client: ClientSocket, address: Any, server: Any) -> None:
        super().__init__(cfg, client, address, server)
        self.head = bytearray()
        self.data_ready = True  # a thread need not wait for the first byte

    def gather(self) -> bool:
        """Take what has arrived; tell whether a thread can go on. Raise OSError when the client has gone."""
        with suppress(BlockingIOError):
            data = self.sock.recv(HEAD_BYTES)
            if not data and HEAD_END not in self.head:  # a whole one may have come with the request before it
                raise ConnectionResetError
            self.head += data
        return HEAD_END in self.head or len(self.head) >= HEAD_BYTES

    def init(self) -> None:
        """Hand what was gathered to the parser."""
        super().init()
        self.parser.unreader.unread(bytes(self.head))
        self.head.clear()


class GunicornWorker(ThreadWorker):
    """Serve with threads, as gthread does, but let none of them wait for a head, a slow client or a close."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seats = Seats()
        self._lingering: deque[Connection] = deque()

    def load_wsgi(self) -> None:
        """Make the app."""
        repeat_until_done(self, super().load_wsgi)

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Have a thread for every seat, beside the others."""
        return ThreadPoolExecutor(self.cfg.threads + self._seats.count)

    def accept(self, listener: Any) -> None:
        """Take a new connection, if need be in the place of the one that has waited longest for its client."""
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in NO_FILES and not self._make_room():
                log.error("no file descriptor is left for another connection")
                time.sleep(0.1)
            elif error.errno not in (*NO_FILES, errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        if self.nr_conns + 1 >= self.worker_connections:
            self._make_room()
        self.nr_conns += 1
        self._await_head(Connection(self.cfg, ClientSocket(accepted, self._seats), address, listener.getsockname()))

    def on_client_socket_readable(self, conn: Connection, client: ClientSocket) -> None:
        """Begin the next request of a connection that was kept."""
        if client.fileno() >= 0:  # or its place was given away a moment ago
            self._forget(conn, self.keepalived_conns)
            self._await_head(conn)

    def on_pending_socket_readable(self, conn: Connection, client: ClientSocket) -> None:
        """Gather more of a head; give the connection to a thread when it is whole."""
        if client.fileno() >= 0 and (go_on := self._gather(conn)):
            self._forget(conn, self.pending_conns)
            go_on(conn)

    def handle(self, conn: Connection) -> Any:
        """Answer a request, in a thread."""
        conn.sock.begin_request()
        try:
            return super().handle(conn)
        finally:
            conn.sock.end_request()

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Let the app, not gunicorn, tell a client that waits with its body to go on."""
        conn.sock.expectation = expectation.of(req, conn.sock)
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what the parser refused; the app has answered everything that it got to see."""
        if req is None or isinstance(exc, ParseException):
            malformed.answer(client, addr, exc)
        else:
            malformed.answer_failure(client, exc)

    def finish_request(self, conn: Connection, fs: "Future[Any]") -> None:
        """Keep the connection for its next request, or close it."""
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._linger(conn)
        elif ahead := conn.parser.unreader.take_buffered():
            conn.head += ahead
            conn.sock.setblocking(False)
            self._await_head(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Close what has waited too long for its client."""
        super().murder_pending()
        now = time.monotonic()
        while self._lingering and self._lingering[0].timeout <= now:
            self._close_first(self._lingering)

    def _cap_keepalive(self, deadline: float) -> None:
        """Begin a stop, of which this is the first step, whatever its reason: nobody waits for a job's end any more."""
        end_waits(self)
        super()._cap_keepalive(deadline)

    def _await_head(self, conn: Connection) -> None:
        if go_on := self._gather(conn):  # most heads come in one piece
            go_on(conn)
        else:
            self._await(conn, self.pending_conns, HEAD_SECONDS, self.on_pending_socket_readable)

    def _gather(self, conn: Connection) -> Callable[[Connection], None] | None:
        try:
            return self.enqueue_req if conn.gather() else None
        except OSError:
            return self._drop

    def _linger(self, conn: Connection) -> None:
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            self._drop(conn)
            return
        self._await(conn, self._lingering, LINGER_SECONDS, self._discard)
        self._discard(conn, conn.sock)

    def _discard(self, conn: Connection, client: ClientSocket) -> None:
        if client.fileno() < 0:
            return
        try:
            ended = not client.recv(LINGER_BLOCK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._forget(conn, self._lingering)
            self._drop(conn)

    def _await(
        self, conn: Connection, waiting: "deque[Connection]", seconds: float, act: Callable[..., None]
    ) -> None:
        conn.timeout = time.monotonic() + seconds
        waiting.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(act, conn))

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for its client; False when none waits."""
        for waiting in (self._lingering, self.keepalived_conns, self.pending_conns):
            if waiting:
                self._close_first(waiting)
                return True
        return False

    def _close_first(self, waiting: "deque[Connection]") -> None:
        conn = waiting[0]
        self._forget(conn, waiting)
        self._drop(conn)

    def _forget(self, conn: Connection, waiting: "deque[Connection]") -> None:
        self.poller.unregister(conn.sock)
        waiting.remove(conn)

    def _drop(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()
