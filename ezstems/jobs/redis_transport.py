"""Kombu's transport over Redis, whose channels say that their connection is closed as every other failure is said.

When Redis goes away, Celery closes the connection twice, and acknowledges after that what it ran; Kombu then looks for
the address of a connection that it has no more, and Celery takes that error for one that ends the whole worker.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis

CLOSED = "the connection to the broker is closed"


class Channel(redis.Channel):
    """Raise ConnectionError where there is no connection any more, which Celery heeds."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise ConnectionError(CLOSED)
        parameters: dict[str, Any] = super()._connparams(asynchronous=asynchronous)
        return parameters


class Transport(redis.Transport):
    """Open such channels."""

    Channel = Channel


def use() -> None:
    """Have Kombu take this transport for what it knows as Redis."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
