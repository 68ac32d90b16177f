"""A database server beside the box, PostgreSQL: how it is connected to, and what is said while it is away."""

import logging
import threading
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError

log = logging.getLogger(__name__)

# A cut network tells neither side anything. What one of them finds dead after half a minute, the other does, too: a
# transaction whose client is gone must not keep its rows locked.
SESSION = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "30s",
}
CONNECT = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
    "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
}
# Classes of SQLSTATE: connection exceptions, and an operator's intervention, such as a stop.
_AWAY = ("08", "57P")


def engine_options(url: URL) -> dict[str, Any]:
    """Return the engine's options; what the URL says itself goes first."""
    if url.get_backend_name() != "postgresql":
        return {"pool_pre_ping": True}
    own = {name: value for name, value in CONNECT.items() if name not in url.query}
    # What was cut while it lay in the pool is replaced, and nobody's request fails by it.
    return {"pool_pre_ping": True, "connect_args": own}


def is_away(error: BaseException | None) -> bool:
    """Tell whether an error means that the server can't be reached; that was logged when it began."""
    if not isinstance(error, DBAPIError) or not hasattr(error.orig, "sqlstate"):  # SQLite's have none
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # the client's own words, not the server's: that about values is no OperationalError
        return isinstance(error, OperationalError)
    return error.connection_invalidated or state.startswith(_AWAY)


def lose_rollbacks_with_the_connection(engine: Engine) -> None:
    """Let a rollback pass on a connection that is lost: the server rolled back when it lost it.

    A transaction that only read ends in a rollback: it must not fail a request that is answered, or a job that runs.
    """
    dialect, roll_back = engine.dialect, engine.dialect.do_rollback

    def do_rollback(connection: Any) -> None:
        try:
            roll_back(connection)
        except dialect.loaded_dbapi.Error as error:
            state = getattr(error, "sqlstate", None) or ""
            if not (state.startswith(_AWAY) or dialect.is_disconnect(error, connection, None)):
                raise
            with suppress(dialect.loaded_dbapi.Error):
                connection.close()  # the pool finds it so, and opens another

    dialect.do_rollback = do_rollback  # type: ignore[assignment]


class Outage:
    """Log once that the server can't be reached, and once that it can be again."""

    def __init__(self, engine: Engine) -> None:
        self._lock = threading.Lock()
        self._began_seconds: float | None = None
        event.listen(engine, "handle_error", self._on_error)
        event.listen(engine, "connect", self._on_connect)

    def _on_error(self, context: ExceptionContext) -> None:
        # The pool replaces a connection that doesn't answer its ping; only where it can't, the server is away.
        if context.is_pre_ping or not (context.connection is None or context.is_disconnect):
            return
        with self._lock:
            is_news, self._began_seconds = self._began_seconds is None, self._began_seconds or time.monotonic()
        if is_news:
            why = " ".join(str(context.original_exception).split())
            log.error("the database can't be reached; it is tried again until it can: %s", why)

    def _on_connect(self, _connection: Any, _record: Any) -> None:
        with self._lock:
            began, self._began_seconds = self._began_seconds, None
        if began is not None:
            log.warning("the database is back after %.1f s", time.monotonic() - began)
