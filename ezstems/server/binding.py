"""The address to serve on: whether it can be had is found out, and said in a line, before gunicorn tries."""

import os
import socket
import stat
from contextlib import closing
from pathlib import Path

from gunicorn.util import is_ipv6

from ezstems.errors import ConfigurationError

ANSWER_SECONDS = 2.0


def require_free(address: tuple[str, int] | str) -> None:
    """Raise ConfigurationError where a port, or the path of a Unix socket, can't be served on, or is already."""
    try:
        if isinstance(address, tuple):
            _require_port(*address)
        elif not address.startswith("\0"):
            _require_socket(Path(address))
    except OSError as error:
        name = ":".join(map(str, address)) if isinstance(address, tuple) else f"unix:{address}"
        why = error.strerror or error
        raise ConfigurationError(f"{name} can't be served on, name another in EZSTEMS_BIND: {why}") from error


def _require_port(host: str, port: int) -> None:
    with closing(socket.socket(socket.AF_INET6 if is_ipv6(host) else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn: what was closed is free
        probe.bind((host, port))


def _require_socket(path: Path) -> None:
    """Let a socket pass that nobody answers on: a server that was killed left it, and gunicorn replaces it."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        path.parent.stat()  # where it isn't there, that is why
        raise PermissionError(None, "its folder can't be written to")
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(None, "something that is no socket is there")
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(ANSWER_SECONDS)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except (BlockingIOError, TimeoutError):
            pass  # a server with so many clients that another must wait
    raise FileExistsError(None, "a server answers there already")
