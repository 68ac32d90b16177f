"""A RabbitMQ server of Debian's package, and the port mapper of its Erlang."""

import secrets
import socket
import subprocess
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from tests.support.backends.backend import LOOPBACK, STOP_SECONDS, Backend, program


class RabbitMQ(Backend):
    """Run a RabbitMQ with a home, a node name and ports of its own."""

    PORTS = 3  # AMQP, between nodes, the port mapper

    def __init__(self, address: str = LOOPBACK) -> None:
        self._rabbitmq = program("rabbitmq-server", "/usr/lib/rabbitmq/bin")
        self._epmd = program("epmd")
        super().__init__(address)
        self.node = f"ezstems{self.port}@localhost"
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL of the virtual host that is there from the start."""
        return f"amqp://guest:guest@{self.address}:{self.port}//"

    def url_of(self, host: str) -> str:
        """Return the URL of a virtual host."""
        return f"amqp://guest:guest@{self.address}:{self.port}/{quote(host, safe='')}"

    def new_host(self) -> str:
        """Make a virtual host, which knows nothing of others; return its name."""
        name = f"test-{secrets.token_hex(8)}"
        self.control("add_vhost", name)
        self.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return name

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl`; return what it said."""
        command = [program("rabbitmqctl", "/usr/lib/rabbitmq/bin"), "--quiet", "-n", self.node, *arguments]
        return subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.full_environ(),
            **self.as_user,
        ).stdout

    def arguments(self) -> Sequence[str]:
        """Return the program and its arguments."""
        return [self._rabbitmq]

    def environ(self) -> Mapping[str, str]:
        """Return what the program's environment has beside the usual."""
        port, between, mapper = map(str, self.ports)
        return {
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "RABBITMQ_NODE_PORT": port,
            "RABBITMQ_DIST_PORT": between,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 -rabbit loopback_users []"  # guest may be elsewhere
            ),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_LOGS": "-",
            "ERL_EPMD_PORT": mapper,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def start(self) -> None:
        """Start the port mapper, which else would outlive it; start."""
        if self._mapper is None or self._mapper.poll() is not None:
            self._mapper = subprocess.Popen(
                [self._epmd, "-port", str(self.ports[2]), "-address", "127.0.0.1"],
                cwd=self.folder,
                env=self.full_environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **self.as_user,
            )
        super().start()

    def close(self) -> None:
        """Kill it and its port mapper, and delete what it has written."""
        super().close()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait(STOP_SECONDS)

    def is_ready(self) -> bool:
        """Tell whether it speaks AMQP: it answers a protocol that it doesn't know with its own."""
        try:
            with socket.create_connection((self.address, self.port), 5) as connection:
                connection.sendall(b"AMQP\x00\x00\x00\x00")
                return connection.recv(8).startswith(b"AMQP")
        except OSError:
            return False
