"""Settings changed under a running server: what makes sense counts after HUP, what doesn't changes nothing."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from ezstems import config
from ezstems.errors import ConfigurationError
from tests.support.servers import Server

SAME = "nothing is reloaded, the server goes on as it was: "
BROKEN = "EZSTEMS_WORKERS = 2\nEZSTEMS_REGISTRATION = 'closed\n"
WRONG = [
    (BROKEN, "config.py can't be read: SyntaxError: "),
    ("EZSTEMS_THREADS = 'lots'", "EZSTEMS_THREADS='lots' must be a whole number from 2 to 1024"),
    ("import sys\nsys.exit('no')", "config.py can't be read: SystemExit: no"),
    ("EZSTEMS_MODEL = 'official'", "official weights are missing: 2stems"),
    ("EZSTEMS_DATABASE_URL = 'sqlite://'", "EZSTEMS_DATABASE_URL='sqlite://' must name a file"),
    ("EZSTEMS_DATABASE_URL = 'sqlite:////dev/null/x'", "the database sqlite:////dev/null/x is not there, or empty"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "instance") as server:
        yield server


def write(server: Server, text: str) -> None:
    (server.instance / "config.py").write_text(text)


def send(server: Server, number: signal.Signals) -> None:
    assert server.process is not None
    os.kill(server.process.pid, number)


def until(what: Callable[[], object], server: Server) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline and server.running, server.log.read_text()[-4000:]
        time.sleep(0.05)


def started(server: Server) -> int:
    return server.log.read_text().count(": started with the model")


def may_register(server: Server) -> bool:
    return requests.get(f"{server.url}/register", timeout=30).status_code == 200


def test_settings_that_make_no_sense_are_told_in_one_line(server: Server) -> None:
    workers = server.workers()
    for text, why in WRONG:
        said = len(server.log.read_text())
        write(server, text)
        send(server, signal.SIGHUP)
        log = server.logged(SAME, why)[said:]
        told = [line for line in log.splitlines() if ".web.request_log" not in line and "Handling signal" not in line]
        assert len(told) == 1 and SAME in told[0], log
        assert server.workers() == workers and server.running
        assert requests.get(f"{server.url}/health", timeout=30).status_code == 200


def test_workers_come_up_while_the_file_is_broken_and_a_reload_brings_what_is_right(server: Server) -> None:
    assert may_register(server)
    write(server, BROKEN)
    (first,) = server.workers()
    os.kill(first, signal.SIGKILL)
    until(lambda: started(server) == 2, server)
    send(server, signal.SIGTTIN)
    until(lambda: started(server) == 3, server)
    assert len(server.workers()) == 2 and first not in server.workers()
    assert may_register(server), "as the server was started"
    send(server, signal.SIGTTOU)
    until(lambda: len(server.workers()) == 1, server)

    write(server, "EZSTEMS_WORKERS = 2\nEZSTEMS_REGISTRATION = 'closed'\nEZSTEMS_BIND = '127.0.0.1:1'\n")
    del server.environ["EZSTEMS_BIND"]  # of what starts from now on
    before = set(server.workers())
    send(server, signal.SIGHUP)
    until(lambda: len(server.workers()) == 2 and not before & set(server.workers()), server)
    until(lambda: started(server) == 5, server)
    assert not may_register(server)

    write(server, BROKEN)
    send(server, signal.SIGHUP)
    server.logged(SAME)
    os.kill(server.workers()[0], signal.SIGKILL)
    until(lambda: started(server) == 6, server)
    assert not may_register(server), "what was reloaded last is what counts"
    assert "Traceback" not in server.log.read_text()


def test_another_address_is_for_the_next_start(tmp_path: Path) -> None:
    server = Server(tmp_path / "instance")
    server.instance.mkdir()
    write(server, f"EZSTEMS_BIND = '127.0.0.1:{server.port}'\n")
    del server.environ["EZSTEMS_BIND"]
    with server:
        write(server, "EZSTEMS_BIND = '127.0.0.1:1'\n")
        send(server, signal.SIGHUP)
        server.logged("EZSTEMS_BIND='127.0.0.1:1' counts from the next start on")
        until(lambda: started(server) == 2, server)
        assert requests.get(f"{server.url}/health", timeout=30).status_code == 200


def test_an_upgrade_by_signal_reads_the_settings_itself(tmp_path: Path) -> None:
    server = Server(tmp_path / "instance")
    # As the unit does: what `python -m` was started with can't be started again.
    server.arguments[:3] = [str(Path(sys.executable).with_name("gunicorn"))]
    with server:
        upgrade(server)


def upgrade(server: Server) -> None:
    """Upgrade a server, in vain, then well; the old one goes."""
    assert server.process is not None
    write(server, BROKEN)
    send(server, signal.SIGUSR2)
    server.logged("ezstems: ", "config.py can't be read")
    assert may_register(server)
    write(server, "EZSTEMS_REGISTRATION = 'closed'\n")
    until(lambda: len(server.workers()) == 1, server)  # the new master has ended, and the old one knows
    send(server, signal.SIGUSR2)
    until(lambda: started(server) == 2, server)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    assert requests.get(f"{server.url}/health", timeout=30).status_code == 200
    assert not may_register(server)


def test_a_worker_that_cannot_start_yet_takes_nobody_with_it(server: Server) -> None:
    key = server.instance / "secret_key"
    key.rename(key.with_suffix(".aside"))
    key.touch()
    (first,) = server.workers()
    os.kill(first, signal.SIGKILL)
    server.logged("this worker can't start, and tries again", f"{key} must hold")
    key.with_suffix(".aside").replace(key)
    until(lambda: started(server) == 2, server)
    assert requests.get(f"{server.url}/health", timeout=30).status_code == 200
    key.write_text("")
    os.kill(server.workers()[0], signal.SIGKILL)
    until(lambda: server.log.read_text().count("this worker can't start") >= 2, server)
    assert server.stop() < 20


def test_a_file_that_was_found_right_is_held_until_the_next_one_is(tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text("EZSTEMS_THREADS = 7")
    try:
        with config.held(tmp_path):
            assert config.load(tmp_path, {})["EZSTEMS_THREADS"] == 7
        file.write_text("EZSTEMS_THREADS = ")
        with pytest.raises(ConfigurationError), config.held(tmp_path):
            pass
        assert config.load(tmp_path, {})["EZSTEMS_THREADS"] == 7
        file.write_text("EZSTEMS_THREADS = 1")
        with pytest.raises(ConfigurationError), config.held(tmp_path):
            config.load(tmp_path, {})
        assert config.load(tmp_path, {})["EZSTEMS_THREADS"] == 7
        assert config.load(tmp_path, {"EZSTEMS_THREADS": "8"})["EZSTEMS_THREADS"] == 8
        file.write_text("EZSTEMS_THREADS = 9")
        with config.held(tmp_path):
            pass
        assert config.load(tmp_path, {})["EZSTEMS_THREADS"] == 9
    finally:
        config._held.clear()
