"""The address to serve on: one that is taken is refused in a line, and who has it keeps it."""

import os
import signal
import socket
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from ezstems.errors import ConfigurationError
from ezstems.server import binding
from tests.support.servers import Server


class UnixConnection(HTTPConnection):
    """Speak HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def healthy(path: Path) -> bool:
    connection = UnixConnection(path)
    connection.request("GET", "/health")
    return connection.getresponse().status == 200


class UnixServer(Server):
    """Run gunicorn on a Unix socket."""

    def __init__(self, instance: Path, path: Path) -> None:
        super().__init__(instance, bind=f"unix:{path}")
        self.arguments[:3] = [str(Path(self.arguments[0]).with_name("gunicorn"))]
        self.path = path

    def start(self) -> None:
        """Start and wait until it answers."""
        before = self.log.read_text().count(": started with the model") if self.log.exists() else 0
        self.spawn()
        self.wait_started(before + 1)

    def wait_started(self, times: int) -> None:
        """Wait until so many workers have started, all in all."""
        deadline = time.monotonic() + 60
        while self.log.read_text().count(": started with the model") < times or not healthy(self.path):
            assert time.monotonic() < deadline and self.running, self.log.read_text()
            time.sleep(0.05)


def test_a_second_server_on_a_unix_socket_is_refused_and_the_first_serves_on(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with UnixServer(tmp_path / "first", path) as first:
        assert first.process is not None
        done = UnixServer(tmp_path / "second", path).refuse()
        assert done.returncode != 0
        (told,) = [line for line in done.stderr.splitlines() if " INFO " not in line]
        assert told == (
            f"ezstems: unix:{path} can't be served on, name another in EZSTEMS_BIND: a server answers there already"
        )
        assert healthy(path)
        first.process.send_signal(signal.SIGHUP)
        first.wait_started(2)
        first.process.send_signal(signal.SIGUSR2)  # its own successor may have it
        first.wait_started(3)
        first.process.send_signal(signal.SIGTERM)
        first.process.wait(30)
        assert healthy(path)
        first.kill()
    assert path.exists(), "a killed server leaves it"
    with UnixServer(tmp_path / "second", path) as second:
        assert healthy(path)
        second.stop()
    assert not path.exists()


def test_a_second_server_on_a_port_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        done = Server(tmp_path / "instance", bind=address).refuse()
    assert done.returncode != 0 and time.monotonic() - began < 30
    (told,) = [line for line in done.stderr.splitlines() if " INFO " not in line]
    rule = "can't be served on, name another in EZSTEMS_BIND: Address already in use"
    assert told == f"ezstems: {address} {rule}"


def test_what_is_free_and_what_is_not(tmp_path: Path) -> None:
    def refused(address: tuple[str, int] | str) -> str:
        with pytest.raises(ConfigurationError) as caught:
            binding.require_free(address)
        return str(caught.value).partition(" can't be served on, name another in EZSTEMS_BIND: ")[2]

    path = tmp_path / "here.sock"
    binding.require_free(("127.0.0.1", 0))
    binding.require_free(("::1", 0))
    binding.require_free(("", 0))
    binding.require_free(str(path))
    binding.require_free("\0abstract")
    assert refused(("192.0.2.1", 8000)) == "Cannot assign requested address"
    assert refused(("no such host", 8000))
    assert refused(str(tmp_path / "none" / "here.sock")) == "No such file or directory"
    path.write_text("somebody's")
    assert refused(str(path)) == "something that is no socket is there"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        binding.require_free(str(path))  # nobody listens, as after a kill
        server.listen(0)
        assert refused(str(path)) == "a server answers there already"
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            for client in (first, second):  # and now it can't keep up
                client.setblocking(False)
                client.connect_ex(str(path))
            assert refused(str(path)) == "a server answers there already"
    binding.require_free(str(path))
    assert path.exists(), "only a server that starts takes it away"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_closed_is_said_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="its folder can't be written to"):
        binding.require_free(str(tmp_path / "here.sock"))
