"""What of gunicorn the room `server/` is built on, though gunicorn promises none of it: another release may change it.

Where a test here fails, gunicorn has changed: read the named code and `ezstems/server/` again, side by side, then put
the present names and digests here.
"""

import ast
import hashlib
import inspect
import os
import textwrap
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from gunicorn import arbiter, glogging, util
from gunicorn.config import Config
from gunicorn.http import message, unreader, wsgi
from gunicorn.workers import base, gthread

from ezstems.server import expectation, gunicorn_worker, master, worker_process

# Names of gunicorn's objects that the room uses or overrides.
WORKER = {
    *("accept", "enqueue_req", "finish_request", "get_thread_pool", "handle", "handle_error", "handle_request"),
    *("load_wsgi", "murder_pending", "on_client_socket_readable", "on_pending_socket_readable"),
    *("cfg", "keepalived_conns", "nr_conns", "pending_conns", "poller", "worker_connections"),
}
PROCESS = {"alive", "booted", "cfg", "handle_exit", "notify", "wsgi"}
CONNECTION = {"close", "data_ready", "init", "parser", "sock", "timeout"}
REQUEST = {"_expected_100_continue", "headers", "must_close", "unreader"}
UNREADER = {"buf", "take_buffered", "unread"}
ARBITER = {"cfg", "handle_hup", "master_pid"}
# Code whose very course is relied on: the beginning of its source's SHA-256.
DIGESTS: dict[str, tuple[Any, str]] = {
    "ThreadWorker.run": (gthread.ThreadWorker.run, "f92c7394d857"),
    "ThreadWorker._cap_keepalive": (gthread.ThreadWorker._cap_keepalive, "745c8ac37108"),
    "ThreadWorker.enqueue_req": (gthread.ThreadWorker.enqueue_req, "c9f428953d24"),
    "ThreadWorker.finish_request": (gthread.ThreadWorker.finish_request, "616e7bb15a00"),
    "ThreadWorker.handle": (gthread.ThreadWorker.handle, "ca85c9be3df7"),
    "ThreadWorker.handle_request": (gthread.ThreadWorker.handle_request, "6d0de5b91910"),
    "ThreadWorker.handle_exit": (gthread.ThreadWorker.handle_exit, "b4e7decd4f92"),
    "ThreadWorker.murder_keepalived": (gthread.ThreadWorker.murder_keepalived, "4459960c4ccc"),
    "ThreadWorker.murder_pending": (gthread.ThreadWorker.murder_pending, "7bf11f464542"),
    "TConn": (gthread.TConn, "e3a2878ba952"),
    "Worker.init_process": (base.Worker.init_process, "114caccd7a0e"),
    "Arbiter.spawn_worker": (arbiter.Arbiter.spawn_worker, "6abc0d90b0b9"),
    "Arbiter.handle_hup": (arbiter.Arbiter.handle_hup, "50de80005cd6"),
    "Arbiter.reload": (arbiter.Arbiter.reload, "fec344d2f774"),
    "wsgi.create": (wsgi.create, "2c35d4a2dc62"),
    "Message": (message.Message, "1998788a8a48"),
    "Unreader": (unreader.Unreader, "84aaa8f91fcd"),
    "util.write_nonblock": (util.write_nonblock, "d2ff97701c36"),
}


@pytest.fixture
def worker() -> Iterator[gthread.ThreadWorker]:
    cfg = Config()
    worker = gthread.ThreadWorker(0, os.getpid(), [], None, 30, cfg, glogging.Logger(cfg))
    with closing(worker.tmp):
        yield worker


def attributes(source: Any, of: str) -> set[str]:
    """Return the names that some source looks up in what it calls `of`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(source)))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == of]
    return {node.attr for node in found}


def methods(class_: type) -> set[str]:
    return {name for name, value in vars(class_).items() if inspect.isfunction(value)} - {"__init__"}


def test_the_names_of_a_worker(worker: gthread.ThreadWorker) -> None:
    ours = gunicorn_worker.GunicornWorker
    own = {"_seats", "_lingering"} | {name for name in methods(ours) if name.startswith("_")}
    assert (attributes(ours, "self") | methods(ours)) - own == WORKER
    assert attributes(worker_process, "worker") == PROCESS
    missing = {name for name in (WORKER | PROCESS) - {"wsgi"} if not hasattr(worker, name)}
    assert not missing and "self.wsgi = " in inspect.getsource(base.Worker.load_wsgi)


def test_the_names_of_a_connection() -> None:
    ours = gunicorn_worker.Connection
    used = attributes(ours, "self") | methods(ours) | attributes(gunicorn_worker.GunicornWorker, "conn")
    assert used - {"head", "gather"} == CONNECTION
    assert set(CONNECTION) <= attributes(gthread.TConn, "self") | methods(gthread.TConn)


def test_the_names_of_a_request_and_of_what_is_read_ahead() -> None:
    used = attributes(expectation, "request") | attributes(expectation, "self._request")
    assert used == REQUEST
    assert {"unreader", "headers", "must_close"} <= attributes(message.Message, "self")
    assert hasattr(message.Message, "_expected_100_continue")
    read_ahead = attributes(expectation, "self._request.unreader")
    for class_, of in ((gunicorn_worker.Connection, "self"), (gunicorn_worker.GunicornWorker, "conn")):
        read_ahead |= attributes(class_, f"{of}.parser.unreader")
    assert read_ahead == UNREADER <= attributes(unreader.Unreader, "self") | methods(unreader.Unreader)
    assert '"gunicorn.socket": sock' in inspect.getsource(wsgi)


def test_the_names_of_the_master() -> None:
    assert attributes(master, "arbiter") == ARBITER
    assert {"cfg", "master_pid"} <= attributes(arbiter.Arbiter, "self") and hasattr(arbiter.Arbiter, "handle_hup")
    assert "error_log" in attributes(glogging.Logger, "self")


@pytest.mark.parametrize("name", DIGESTS)
def test_the_code_is_the_one_that_was_read(name: str) -> None:
    code, digest = DIGESTS[name]
    found = hashlib.sha256(inspect.getsource(code).encode()).hexdigest()[:12]
    assert found == digest, f"gunicorn's {name} has changed: read it and ezstems/server/ again, then note {found} here"
