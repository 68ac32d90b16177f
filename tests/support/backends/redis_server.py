"""A Redis server of Debian's package."""

import socket
from collections.abc import Sequence
from itertools import count

from tests.support.backends.backend import LOOPBACK, Backend, program


class Redis(Backend):
    """Run a Redis that keeps nothing over a restart, unless its settings say so."""

    def __init__(self, address: str = LOOPBACK, **settings: str) -> None:
        self._redis = program("redis-server")
        super().__init__(address)
        self._used = count(1)
        self.settings = {"save": "", "appendonly": "no", "databases": "4096", "protected-mode": "no"} | settings

    @property
    def url(self) -> str:
        """Return the URL of the first of its numbered databases."""
        return self.url_of(0)

    def url_of(self, number: int) -> str:
        """Return the URL of one of its numbered databases, which know nothing of each other."""
        return f"redis://{self.address}:{self.port}/{number}"

    def new_url(self) -> str:
        """Return the URL of a numbered database in which nothing is yet."""
        number = next(self._used)
        if number >= int(self.settings["databases"]):
            raise AssertionError(f"more than {self.settings['databases']} databases are asked for")
        return self.url_of(number)

    def arguments(self) -> Sequence[str]:
        """Return the program and its arguments."""
        own = {"bind": self.address, "port": str(self.port), "dir": str(self.folder)}
        return [
            self._redis,
            *(part for name, value in (own | self.settings).items() for part in (f"--{name}", value)),
        ]

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            with socket.create_connection((self.address, self.port), 5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
