"""What the servers have in common: a folder, free ports, an unprivileged user, a start, an end."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import hold_port

START_SECONDS = 90.0
STOP_SECONDS = 30.0
# Root has none of them run as root: PostgreSQL refuses to.
USER = "nobody"
LOOPBACK = "127.0.0.1"


def program(name: str, *folders: str) -> str:
    """Return the path of a program, or skip the test where the machine lacks it."""
    found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        pytest.skip(f"this machine has no {name}")
    return found


class Backend:
    """Run one server; its folder, ports and URL stay the same from start to start."""

    PORTS = 1

    def __init__(self, address: str = LOOPBACK) -> None:
        """Make its folder; it listens on an address of this machine, or of the network namespace that starts it."""
        self.address = address
        self._keeper = tempfile.TemporaryDirectory(prefix="ezstems-", ignore_cleanup_errors=True)
        self.folder = Path(self._keeper.name)
        self.log = self.folder / "log"
        self.ports = [hold_port(self) for _ in range(self.PORTS)]
        self.port = self.ports[0]
        self.process: subprocess.Popen[bytes] | None = None
        self.give(self.folder)

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Return what a setting names the server by."""
        raise NotImplementedError

    def arguments(self) -> Sequence[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def environ(self) -> Mapping[str, str]:
        """Return what the program's environment has beside the usual."""
        return {}

    def is_ready(self) -> bool:
        """Tell whether the server does its work."""
        raise NotImplementedError

    def give(self, path: Path) -> None:
        """Give a file or folder to the user that the server runs as."""
        if os.geteuid() == 0:
            shutil.chown(path, USER)

    @property
    def as_user(self) -> dict[str, Any]:
        """Return what has `subprocess` run a program as the server's user."""
        return {"user": USER, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}

    @property
    def running(self) -> bool:
        """Tell whether it was started and hasn't ended."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start, and wait until it does its work; one that can't start yet, after a kill, is started again."""
        deadline = time.monotonic() + START_SECONDS
        while not self.running or not self.is_ready():
            assert time.monotonic() < deadline, f"not ready in {START_SECONDS} s:\n{self.logged()}"
            if not self.running:
                self._spawn()
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask for an orderly end, and wait for it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill every process of it at once."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Kill it and delete what it has written."""
        self.kill()
        self._keeper.cleanup()

    def logged(self) -> str:
        """Return what it has written to its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def full_environ(self) -> dict[str, str]:
        """Return the program's whole environment: nothing of the user's own."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8", **self.environ()}

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments(),
                cwd=self.folder,
                env=self.full_environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.as_user,
            )

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        try:
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
        except ProcessLookupError:
            pass
        self.process.wait(STOP_SECONDS)
