"""A real gunicorn, started and stopped by a test."""

import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from tests.support import databases

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
PASSWORD = "a good password"
REAL = "wsgi:app"
# What the boxes of a cluster have in common.
SHARED = ("database_url", "broker_url", "storage_url")


class Server:
    """Run gunicorn with the project's own settings on a free port; `wsgi:app` is the real engine."""

    def __init__(self, instance: Path, app: str = "tests.support.fast_wsgi:app", **settings: object) -> None:
        self.port = hold_port(self)
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/api/v1"
        self.instance = instance
        self.log = instance.parent / f"{instance.name}.log"
        self.arguments = [sys.executable, "-m", "gunicorn", "-c", "python:ezstems.gunicorn_conf", app]
        self.program = [sys.executable, "-c", "from ezstems.cli import main; main()"]
        self.cwd = ROOT
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("EZSTEMS_")} | {
            "EZSTEMS_INSTANCE": str(instance),
            "EZSTEMS_BIND": f"127.0.0.1:{self.port}",
            "EZSTEMS_MIN_FREE_MB": "16",
            "EZSTEMS_PREVIEWS": "off",
            "EZSTEMS_RATE_LIMIT": "1000000",
            "EZSTEMS_LOGIN_ATTEMPTS": "1000000",
            "EZSTEMS_REGISTRATIONS": "1000000",
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **databases.settings_of(instance),
            **{name if name.isupper() else f"EZSTEMS_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._separating: Server | None = None  # where BACKEND=cluster gives it a box that separates
        if "EZSTEMS_BROKER_URL" in databases.settings_of(instance) and "broker_url" not in settings:
            self._separating = self._separation_box(app, settings)

    def _separation_box(self, app: str, settings: Mapping[str, object]) -> "Server":
        from tests.support.clusters import WorkerBox  # which is a server, too

        shared = {name: self.environ[f"EZSTEMS_{name.upper()}"] for name in SHARED}
        box = WorkerBox(self.instance, f"{self.instance.name}-worker", **(dict(settings) | shared))
        if app == REAL:
            box.arguments = [*self.program, "worker"]
        return box

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        """Tell whether it was started and hasn't ended."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start and wait until it answers and every worker is up: the first answers before the last is forked."""
        before = self.spawn()
        workers = int(self.environ.get("EZSTEMS_WORKERS", "1"))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.running, self.log.read_text()
            up = self.log.read_bytes()[before:].count(b": started with the model") >= workers
            with suppress(requests.RequestException):
                if up and requests.get(f"{self.url}/health", timeout=5).status_code in (200, 503):
                    if self._separating is not None and not self._separating.running:
                        self._separating.start()
                    return
            time.sleep(0.05)
        raise AssertionError(f"no answer in {START_SECONDS} s:\n{self.log.read_text()}")

    def spawn(self) -> int:
        """Start; return where in the log that is."""
        with self.log.open("ab") as log:
            before = log.tell()
            self.process = subprocess.Popen(
                self.arguments, cwd=self.cwd, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        return before

    def refuse(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Start what must end by itself, with more in its environment; return what it said."""
        environ = self.environ | environ
        return subprocess.run(
            self.arguments, cwd=self.cwd, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    def beside(self, instance: Path) -> "Server":
        """Return another server with the same settings, on a port of its own."""
        other = Server(instance, self.arguments[-1])
        other.log = self.log.with_name(f"beside-{self.log.name}")
        other.environ = self.environ | {name: other.environ[name] for name in ("EZSTEMS_INSTANCE", "EZSTEMS_BIND")}
        return other

    def stop(self) -> float:
        """Ask for an orderly end; return how many seconds it took."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        seconds = time.monotonic() - started
        if self._separating is not None:
            self._separating.stop()
        return seconds

    def interrupt(self) -> float:
        """Press Ctrl-C, which every process of it gets; return how many seconds the end took."""
        assert self.process is not None
        started = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(30)
        return time.monotonic() - started

    def kill(self) -> None:
        """Kill everything of it at once."""
        assert self.process is not None
        if self._separating is not None and self._separating.process is not None:
            self._separating.kill()
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

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Let one worker of two answer: the other stands still, at a moment when it isn't writing to the database."""
        (other,) = [pid for pid in self.workers() if pid != worker]
        try:
            for _ in range(100):
                os.kill(other, signal.SIGSTOP)
                while not stands_still(other):
                    time.sleep(0.005)
                if self.writable():
                    break
                os.kill(other, signal.SIGCONT)
                time.sleep(0.05)
            else:
                raise AssertionError("the database was never free")
            yield
        finally:
            os.kill(other, signal.SIGCONT)

    def command(self, *arguments: str) -> str:
        """Run `ezstems` on the server's instance; return what it printed."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `ezstems` on the server's instance, whatever comes of it."""
        return subprocess.run(
            [*self.program, *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def key(self, email: str = "someone@example.com", plan: str = "basic", **options: object) -> str:
        """Make an account and a key of it."""
        flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        self.command("users", "add", email, "--plan", plan, "--password", PASSWORD, *flags)
        return self.command("keys", "add", email)

    def hold(self) -> None:
        """Let the fast separator finish nothing until `release`."""
        (self.instance / "hold").touch()

    def release(self) -> None:
        """Let held separations end."""
        (self.instance / "hold").unlink(missing_ok=True)

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Read rows from the server's database, or change them."""
        return databases.query(self.instance, self.environ.get("EZSTEMS_DATABASE_URL"), query, *values)

    def resize(self, job_id: str, size_bytes: int) -> Path:
        """Let a result be of another size, with its row; return where it lies."""
        path = self.instance / "results" / f"{job_id}.zip"
        os.truncate(path, size_bytes)
        self.rows("UPDATE jobs SET result_bytes = ? WHERE id = ?", size_bytes, job_id)
        return path

    def writable(self) -> bool:
        """Tell whether nobody is writing to the database."""
        return databases.is_free(self.instance, self.environ.get("EZSTEMS_DATABASE_URL"))

    def logged(self, *texts: str) -> str:
        """Wait until the log holds every text (a line may follow what it tells of); return the log."""
        deadline = time.monotonic() + 60
        while any(text not in (log := self.log.read_text()) for text in texts):
            assert time.monotonic() < deadline, log[-4000:]
            time.sleep(0.05)
        return log

    def bucket(self) -> Any:
        """Return the store, None where the files are in the instance folder."""
        if "EZSTEMS_STORAGE_URL" not in self.environ:
            return None
        from ezstems.jobs.bucket import Bucket  # one box alone needs no store

        return Bucket(self.environ["EZSTEMS_STORAGE_URL"])

    def uploads(self) -> list[str]:
        """Return the names of the files among the uploads, and of what is half there."""
        bucket = self.bucket()
        if bucket is None:
            return sorted(path.name for path in (self.instance / "uploads").iterdir())
        jobs = {row["upload_key"]: row["filename"] for row in self.rows("SELECT upload_key, filename FROM jobs")}
        kept = [jobs.get(stored.key.name, stored.key.name) for stored in bucket.list("uploads")]
        return sorted(kept + [path.name for path in (self.instance / "scratch").glob("*/*.upload")])

    def kept_uploads(self) -> list[str]:
        """Return the names of the uploads that the rows of the completed jobs keep."""
        kept = "SELECT filename FROM jobs WHERE status = 'completed' AND keeps_upload AND expired_at IS NULL"
        return sorted(row["filename"] for row in self.rows(kept))

    def parts(self) -> list[Path]:
        """Return what lies half-written in the instance folder."""
        return [path for folder in ("uploads", "results") for path in (self.instance / folder).glob("*.part")]


def hold_port(owner: object) -> int:
    """Return a port that is nobody else's while its owner lives; a server that reuses addresses can listen on it."""
    holder = socket.socket()
    weakref.finalize(owner, holder.close)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder.getsockname()[1]


def stands_still(pid: int) -> bool:
    """Tell whether every thread of a process is stopped; the signal takes a moment to reach them all."""
    stats = []
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended between the two looks
            stats.append(task.read_text())
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)
