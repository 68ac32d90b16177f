"""A proxy that cuts answers short: the first ones to a chosen call, each after so many bytes."""

import selectors
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

BLOCK_BYTES = 65_536
WHOLE = -1


class ShorteningProxy(ThreadingTCPServer):
    """Pass bytes on to a server; `cuts` says for each connection that sends `marked` how much of its answer comes."""

    daemon_threads = True

    def __init__(self, upstream: str, marked: bytes, cuts: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.upstream = urlsplit(upstream)
        self.marked, self.cuts = marked, [*cuts]
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Passing(BaseRequestHandler):
    """Pass one connection on, to its end or to where it is cut."""

    server: ShorteningProxy

    def handle(self) -> None:
        left = WHOLE
        upstream = self.server.upstream
        address = (str(upstream.hostname), upstream.port or 80)
        with socket.create_connection(address) as far, selectors.DefaultSelector() as ready:
            for near, other in ((self.request, far), (far, self.request)):
                ready.register(near, selectors.EVENT_READ, other)
            while True:
                for key, _ in ready.select():
                    block = key.fileobj.recv(BLOCK_BYTES)  # type: ignore[union-attr]
                    if not block:
                        return
                    if key.fileobj is self.request:
                        with self.server.lock:
                            if self.server.marked in block and self.server.cuts:
                                left = self.server.cuts.pop(0)
                    elif left != WHOLE:
                        block = block[:left]
                        left -= len(block)
                    key.data.sendall(block)
                    if left == 0 and key.fileobj is far:
                        return


@contextmanager
def shortening(upstream: str, marked: bytes, *cuts: int) -> Iterator[ShorteningProxy]:
    """Run such a proxy for a block."""
    proxy = ShorteningProxy(upstream, marked, cuts)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
