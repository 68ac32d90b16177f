"""Act in a child process, for a parent that forks later: a library's threads would be missing in what it forks."""

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")
_is_parent = False


@contextmanager
def of_a_forking_parent() -> Iterator[None]:
    """Let this process, which is to fork, do nothing itself of what `call` is given."""
    global _is_parent
    before, _is_parent = _is_parent, True
    try:
        yield
    finally:
        _is_parent = before


def call(act: Callable[[], Result]) -> Result:
    """Return what an act returns, or raise what it raises; both must be such as can be pickled."""
    if not _is_parent:
        return act()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            try:
                told: tuple[bool, object] = True, act()
            except Exception as error:
                told = False, error
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(told, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    is_done, result = pickle.loads(data)
    if is_done:
        return result
    raise result
