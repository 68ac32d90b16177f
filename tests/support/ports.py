"""Ports of this machine that nobody else gets: neither another server nor, as its own end, a connection."""

import socket
import weakref


def hold_port(owner: object) -> int:
    """Return a port that is nobody else's while its owner lives; a server that reuses addresses can listen on it."""
    holder = socket.socket()
    weakref.finalize(owner, holder.close)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder.getsockname()[1]
