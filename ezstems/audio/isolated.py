"""Separate one file in a process that may crash, as the child of `jobs.suspect`, which it ends with.

    python -m ezstems.audio.isolated DESCRIPTOR PARENT

The descriptor is a pipe: what is to be done comes out of it, what happens goes in, each a tuple that begins with its
kind.
"""

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

from ezstems.audio.parent import die_with
from ezstems.errors import EzStemsError

READY, LOGGED, PROGRESS, DONE, FAILED = "ready", "logged", "progress", "done", "failed"
# What stops a server is for the parent, which ends this process. They arrive blocked, before Python could ignore them.
NOT_FOR_US = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


class ForwardingHandler(logging.Handler):
    """Hand what is logged to the parent."""

    def __init__(self, tell: Callable[..., None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record's logger, level, message and stack."""
        stack = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else None
        self._tell(record.name, record.levelno, record.getMessage(), stack)


def picklable(error: BaseException) -> tuple[BaseException, OSError | None, str]:
    """Return an error that any process can read, the system's that caused it, and the stack."""
    stack = "".join(traceback.format_exception(error))
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else None
    return (error if isinstance(error, EzStemsError | OSError) else RuntimeError(repr(error))), cause, stack


def main(descriptor: str, parent: str) -> None:
    """Separate with the arguments of the command line."""
    for number in NOT_FOR_US:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NOT_FOR_US)
    die_with(int(parent))
    os.set_inheritable(int(descriptor), False)
    pipe, lock = Connection(int(descriptor)), threading.Lock()

    def tell(kind: str, *values: object) -> None:
        with lock:
            pipe.send((kind, *values))

    level, separate, source, directory, options = pipe.recv()
    logging.basicConfig(level=level, handlers=[ForwardingHandler(partial(tell, LOGGED))])
    tell(READY)
    try:
        done = separate(source, directory, **options, progress=partial(tell, PROGRESS), stopping=lambda: False)
    except BaseException as error:
        tell(FAILED, *picklable(error))
    else:
        tell(DONE, done)


if __name__ == "__main__":
    main(*sys.argv[1:])
