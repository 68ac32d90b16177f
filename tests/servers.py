"""A real gunicorn, started and stopped by a test."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import requests

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90.0


class Server:
    """Run gunicorn with the project's own settings on a free port; `wsgi:app` is the real engine."""

    def __init__(self, instance: Path, app: str = "tests.fast_wsgi:app", **settings: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/api/v1"
        self.instance = instance
        self.log = instance.parent / f"{instance.name}.log"
        self._app = app
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("EZSTEMS_")} | {
            "EZSTEMS_INSTANCE": str(instance),
            "EZSTEMS_BIND": f"127.0.0.1:{self.port}",
            "EZSTEMS_MIN_FREE_MB": "16",
            "EZSTEMS_RATE_LIMIT": "1000000",
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **{name if name.isupper() else f"EZSTEMS_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [sys.executable, "-m", "gunicorn", "-c", "python:ezstems.gunicorn_conf", self._app]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.url}/health", timeout=5).status_code in (200, 503):
                    return
            except requests.ConnectionError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
        raise AssertionError(f"no answer in {START_SECONDS} s:\n{self.log.read_text()}")

    def stop(self) -> float:
        """Ask for an orderly end; return how many seconds it took."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - started

    def kill(self) -> None:
        """Kill everything of it at once."""
        assert self.process is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(30)

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def command(self, *arguments: str) -> str:
        """Run `ezstems` on the server's instance; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", "from ezstems.cli import main; main()", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def key(self, email: str = "someone@example.com", plan: str = "basic", **options: object) -> str:
        """Make an account and a key of it."""
        flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        self.command("users", "add", email, "--plan", plan, "--password", "a good password", *flags)
        return self.command("keys", "add", email)
