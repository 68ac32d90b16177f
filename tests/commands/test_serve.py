"""`ezstems serve`: gunicorn with the project's settings, in this very process, from any folder."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from ezstems import config, home
from ezstems.errors import ConfigurationError
from tests.support.servers import Server

PROGRAM = str(Path(sys.executable).with_name("ezstems"))
NOBODY = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can work as somebody else")


def serving(instance: Path, *arguments: str, **settings: object) -> Server:
    """Return a server that `ezstems serve` starts in a folder that isn't the checkout."""
    server = Server(instance, **settings)
    server.arguments = [PROGRAM, "serve", *arguments]
    server.cwd = instance.parent
    server.environ.pop("PYTHONPATH")
    return server


def until(what: Callable[[], object], server: Server) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, server.log.read_text()[-4000:]
        time.sleep(0.05)


def started(server: Server) -> int:
    return server.log.read_text().count(": started with the model")


def refused(server: Server, **environ: str) -> str:
    """Start what must be refused; return the one line that says why."""
    done = server.refuse(**environ)
    told = [line for line in done.stderr.splitlines() if " INFO " not in line]
    assert done.returncode == 1 and len(told) == 1, done.stderr
    assert done.stdout == ""
    return told[0]


def test_it_serves_reloads_and_hands_over_as_gunicorn_does(tmp_path: Path) -> None:
    with serving(tmp_path / "instance") as server:
        assert server.process is not None
        (worker,) = server.workers()
        server.logged(f"the instance lies in {server.instance}\n", f"Listening at: {server.url} ({server.process.pid})")
        (server.instance / "config.py").write_text("EZSTEMS_REGISTRATION = 'closed'\nEZSTEMS_WORKERS = 2\n")
        assert requests.get(f"{server.url}/register", timeout=30).status_code == 200
        server.process.send_signal(signal.SIGHUP)
        until(lambda: started(server) == 3 and len(server.workers()) == 2 and worker not in server.workers(), server)
        assert requests.get(f"{server.url}/register", timeout=30).status_code == 404
        server.process.send_signal(signal.SIGUSR2)
        until(lambda: started(server) == 5, server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert requests.get(f"{server.url}/health", timeout=30).status_code == 200
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_stop_is_no_failure(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path / "instance") as server:
        assert server.process is not None
        os.killpg(server.process.pid, number)
        assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text() and "Aborted" not in server.log.read_text()


def test_the_address_of_the_command_line_goes_first_and_the_service_manager_is_told(tmp_path: Path) -> None:
    server = serving(tmp_path / "instance", bind="127.0.0.1:1", NOTIFY_SOCKET=tmp_path / "notify")
    server.arguments += ["--bind", server.url.removeprefix("http://")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        with server:
            assert requests.get(f"{server.url}/health", timeout=30).status_code == 200
            assert manager.recv(1024).startswith(b"READY=1")
    server.arguments[-1] = "here"
    assert refused(server) == "ezstems: EZSTEMS_BIND='here' must be HOST:PORT with a port up to 65535, or unix:PATH"


def test_a_start_that_cannot_work_is_one_line(tmp_path: Path) -> None:
    server = serving(tmp_path / "instance")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        rule = "can't be served on, name another in EZSTEMS_BIND: Address already in use"
        assert refused(server, EZSTEMS_BIND=address) == f"ezstems: {address} {rule}"
    assert refused(server, EZSTEMS_MODEL="official").startswith("ezstems: official weights are missing: ")
    assert refused(server, EZSTEMS_INSTANCE="") == "ezstems: EZSTEMS_INSTANCE='' must not be empty"
    assert refused(server, EZSTEMS_INSTANCE="/dev/null/x").startswith(
        "ezstems: the instance folder /dev/null/x must be writable: /dev/null/x"
    )


@needs_root
def test_a_folder_of_another_user_is_one_line(entered_path: Path) -> None:
    server = serving(entered_path / "instance")
    server.command("users", "add", "you@example.com", "--password", "any")
    setpriv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    server.arguments[:0] = setpriv
    if subprocess.run([*setpriv, PROGRAM, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("nobody may not read the program")
    assert refused(server).endswith("Permission denied")
    server.environ["EZSTEMS_INSTANCE"] = str(entered_path / "new")
    assert refused(server) == (
        f"ezstems: the instance folder {entered_path}/new must be writable: {entered_path}/new: Permission denied"
    )


def test_the_default_folder_is_the_checkouts_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.instance_folder({}) == home.ROOT / "instance"
    monkeypatch.setattr(home, "ROOT", tmp_path / "site-packages")
    monkeypatch.setenv("HOME", str(tmp_path))
    usual = tmp_path / ".local" / "share" / "ezstems"
    assert config.instance_folder({}) == usual
    assert config.instance_folder({"XDG_DATA_HOME": "relative"}) == usual
    assert config.instance_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/ezstems")
    assert config.instance_folder({"XDG_DATA_HOME": "/data", "EZSTEMS_INSTANCE": "/srv"}) == Path("/srv")


def test_a_user_without_a_home_must_name_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(home, "ROOT", tmp_path)
    monkeypatch.setattr(home.Path, "home", homeless)
    with pytest.raises(ConfigurationError, match="EZSTEMS_INSTANCE must name the folder of all state"):
        config.instance_folder({})
