"""Hosts on one bridge, each a network namespace of its own, whose cables can be cut.

A cut says nothing to either side: what is sent is lost. Addresses and interfaces exist inside the namespaces alone.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAMES = Path("/run/netns")
PREFIX = "ezsoak"
NETWORK = "10.87.0"
BRIDGE, PORT = "bridge", "eth0"
# Of no host: what is sent there, nobody takes.
NOBODY = "02:00:00:00:00:99"
CLONE_NEWNET = 0x40000000


def hindrance() -> str | None:
    """Say why this machine can have no such hosts; None where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "this machine has no ip (iproute2)"
    name = f"{PREFIX}-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if not tried.returncode:
        bridge = ["ip", "-n", name, "link", "add", BRIDGE, "type", "bridge"]
        tried = subprocess.run(bridge, capture_output=True, text=True, check=False)
        run("ip", "netns", "delete", name)
    return f"this machine makes no network namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Host:
    """Hold one namespace and its address."""

    def __init__(self, name: str, namespace: str, address: str, device: str) -> None:
        self.name = name
        self.namespace = namespace
        self.address = address
        self.device = device

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and the programs that it starts, be on the host."""
        before = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        try:
            there = os.open(NAMES / self.namespace, os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)


class Network:
    """Make hosts; while the context lasts, this thread is on the bridge itself, from where all are reached."""

    def __init__(self, *names: str) -> None:
        self._prefix = f"{PREFIX}-{os.getpid()}"
        self.client = Host("client", f"{self._prefix}-client", f"{NETWORK}.1", BRIDGE)
        self.hosts = {
            name: Host(name, f"{self._prefix}-{name}", f"{NETWORK}.{number}", PORT)
            for number, name in enumerate(names, 2)
        }

    def __enter__(self) -> "Network":
        _clear_dead()
        try:
            self._make()
        except BaseException:
            self._delete()
            raise
        self._inside = self.client.inside()
        self._inside.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._inside.__exit__(None, None, None)
        self._delete()

    def _make(self) -> None:
        there = self.client.namespace
        for host in (self.client, *self.hosts.values()):
            run("ip", "netns", "add", host.namespace)
            run("ip", "-n", host.namespace, "link", "set", "lo", "up")
        run("ip", "-n", there, "link", "add", BRIDGE, "type", "bridge")
        for host in self.hosts.values():
            peer = ("peer", "name", PORT, "netns", host.namespace)
            run("ip", "-n", there, "link", "add", "name", host.name, "type", "veth", *peer)
            run("ip", "-n", there, "link", "set", "dev", host.name, "master", BRIDGE, "up")
        for host in (self.client, *self.hosts.values()):
            run("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", host.device)
            run("ip", "-n", host.namespace, "link", "set", host.device, "up")

    def _delete(self) -> None:
        for host in (*self.hosts.values(), self.client):
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "delete", host.namespace)

    @contextmanager
    def cut(self, one: Host, other: Host) -> Iterator[None]:
        """Let two hosts hear nothing of each other."""
        ways = ((one, other), (other, one))
        for here, there in ways:
            to = ("to", there.address, "lladdr", NOBODY, "dev", here.device, "nud", "permanent")
            run("ip", "-n", here.namespace, "neighbour", "replace", *to)
        try:
            yield
        finally:
            for here, there in ways:
                run("ip", "-n", here.namespace, "neighbour", "delete", "to", there.address, "dev", here.device)

    @contextmanager
    def unplugged(self, host: Host) -> Iterator[None]:
        """Let a host hear nothing of any other."""
        run("ip", "-n", self.client.namespace, "link", "set", "dev", host.name, "down")
        try:
            yield
        finally:
            run("ip", "-n", self.client.namespace, "link", "set", "dev", host.name, "up")


def run(*command: str) -> None:
    """Run a program; raise where it fails."""
    subprocess.run(command, check=True, capture_output=True, text=True)


def _enter(namespace: int) -> None:
    """Move this thread into a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _clear_dead() -> None:
    """Delete the namespaces, and end what runs in them, of processes that were killed before they could."""
    for path in NAMES.glob(f"{PREFIX}-*") if NAMES.is_dir() else ():
        pid = path.name.split("-")[1]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            listed = subprocess.run(["ip", "netns", "pids", path.name], capture_output=True, text=True, check=False)
            for left in listed.stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(left), signal.SIGKILL)
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "delete", path.name)
