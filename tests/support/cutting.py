"""A proxy that cuts a client's connection when the server has answered, so that the answer is lost."""

import socket
import threading
from contextlib import suppress
from types import TracebackType

BLOCK_BYTES = 65_536


class CuttingProxy:
    """Pass on what clients send to a port; as soon as an answer comes, throw it away and hang up."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut = threading.Semaphore(0)  # released for every answer that was thrown away
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "CuttingProxy":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, socket.create_connection(self._to, timeout=60) as server:
                    sending = threading.Thread(target=self._send, args=(client, server))
                    sending.start()
                    server.recv(BLOCK_BYTES)
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_RDWR)
                    sending.join()
                self.cut.release()

    def _send(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while block := client.recv(BLOCK_BYTES):
                server.sendall(block)
