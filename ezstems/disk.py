"""A full disk: how the system and SQLite say it, and what it means for who asks."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError

from ezstems.errors import ServerFull

RETRY_AFTER_SECONDS = 600
_CODES = (errno.ENOSPC, errno.EDQUOT)
# SQLite's own words (SQLITE_FULL); the error's code reaches Python only from 3.11 on.
_SQLITE_WORDS = "disk is full"


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error means that a disk or quota is used up."""
    if isinstance(error, OperationalError):
        return _SQLITE_WORDS in str(error.orig)
    return isinstance(error, OSError) and error.errno in _CODES


def refusal() -> ServerFull:
    """Return what to raise for a full disk."""
    return ServerFull("The server's disk is full. Try again later.", RETRY_AFTER_SECONDS)


@contextmanager
def full_refused() -> Iterator[None]:
    """Turn a full disk's error into ServerFull."""
    try:
        yield
    except (OSError, OperationalError) as error:
        if is_full(error):
            raise refusal() from error
        raise
