"""Build the container's image, run it as the compose file says, stop it in the middle of a job, start it, lose nothing.

By hand, where docker compose or podman-compose is: `.venv/bin/python -m tests.operations.container`. COMPOSE is the
command with its files, `docker compose -f ezstems/deploy/compose.yaml` by default; port 8000 must be free.
"""

import io
import os
import shlex
import subprocess
import time
import wave
import zipfile
from contextlib import suppress
from typing import Any

import requests

from tests.support.servers import PASSWORD, ROOT

COMPOSE = shlex.split(os.environ.get("COMPOSE", "docker compose -f ezstems/deploy/compose.yaml"))
ENGINE = "podman" if "podman" in COMPOSE[0] else "docker"
PROJECT = "ezstems-test"
URL = "http://127.0.0.1:8000"
RATE_HZ = 8000
LARGEST_IMAGE_BYTES = 1_300_000_000
SLOWEST_STOP_SECONDS = 10.0


def compose(*arguments: str, check: bool = True) -> str:
    """Run a command of compose; return what it printed."""
    return run(*COMPOSE, "--project-name", PROJECT, *arguments, check=check)


def run(*command: str, check: bool = True) -> str:
    """Run a command; return its standard output, or with its errors where it may fail."""
    print("+", shlex.join(command), flush=True)
    errors = None if check else subprocess.STDOUT
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, check=check)
    return done.stdout.strip()


def containers(service: str) -> list[str]:
    """Return the ids of a service's containers, stopped ones too."""
    labels = (f"project={PROJECT}", f"service={service}")
    named = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
    return run(ENGINE, "ps", "--all", "--quiet", *named).split()


def inspect(what: str) -> str:
    """Return one thing that the engine knows of the container."""
    return run(ENGINE, "inspect", "--format", what, *containers("server"))


def song(seconds: int) -> bytes:
    """Return noise as a WAV file, small for its length."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 1, RATE_HZ, 0, "NONE", ""))
        wav.writeframes(os.urandom(seconds * RATE_HZ))
    return file.getvalue()


def healthy(url: str = URL, workers: int | None = None) -> float:
    """Wait until the server takes work, by so many boxes; return how many seconds that took."""
    started = time.monotonic()
    while time.monotonic() - started < 180:
        with suppress(requests.ConnectionError):
            answer = requests.get(f"{url}/health", timeout=10)
            if answer.status_code == 200 and workers in (None, answer.json().get("workers")):
                print(answer.text.strip())
                return time.monotonic() - started
        time.sleep(0.05)
    raise AssertionError(f"{url}/health is not what it should be")


class Caller:
    """Call the API with a key."""

    def __init__(self, key: str, url: str = URL) -> None:
        self.url, self.headers = url, {"Authorization": f"Bearer {key}"}

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call an endpoint, which must answer 200, or 206 with a range."""
        url, headers = f"{self.url}/api/v1/{path}", self.headers | options.pop("headers", {})
        answer = requests.request(method, url, headers=headers, timeout=120, **options)
        assert answer.status_code in (200, 206), answer.text
        return answer

    def upload(self, seconds: int) -> str:
        """Upload a song; return the job's id."""
        files, fields = {"file": ("song.wav", song(seconds))}, {"stems": "2"}
        return self.call("POST", "upload.php", files=files, data=fields).json()["data"]["id"]

    def wait(self, job_id: str, status: str) -> None:
        """Wait for a job's status."""
        deadline = time.monotonic() + 300
        while (job := self.call("GET", f"status.php?id={job_id}").json()["data"])["status"] != status:
            assert job["status"] != "failed" and time.monotonic() < deadline, job
            time.sleep(1.0)  # the key's calls are counted

    def stems(self, job_id: str) -> dict[str, int]:
        """Download a job's result; return the stems' sizes."""
        with zipfile.ZipFile(io.BytesIO(self.call("GET", f"download.php?id={job_id}").content)) as packed:
            assert packed.testzip() is None
            return {info.filename: info.file_size for info in packed.infolist()}


def build() -> None:
    """Build the image, and look at its size."""
    started = time.monotonic()
    compose("build")
    built = time.monotonic() - started
    size_bytes = int(run(ENGINE, "image", "inspect", "--format", "{{.Size}}", "localhost/ezstems"))
    print(f"built in {built:.0f} s: {size_bytes / 1e6:.0f} MB")
    assert size_bytes <= LARGEST_IMAGE_BYTES


def main() -> None:
    """Do it all, and say how long it took."""
    build()
    try:
        started = time.monotonic()
        compose("up", "--detach", "--no-build")
        print(f"{time.monotonic() - started:.1f} s to start, {healthy():.1f} s more to /health")
        serve()
    except BaseException:
        print(compose("logs", "server", check=False))
        raise
    finally:
        compose("down", "--volumes", check=False)


def serve() -> None:
    """Separate, stop and start; look at what the process may do."""
    assert inspect("{{.HostConfig.ReadonlyRootfs}} {{.Config.User}}") == "true 10001:10001"
    assert command("id", "-u") == "10001"
    status = command("cat", "/proc/1/status")
    assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status, status
    assert "Read-only file system" in command("touch", "/opt/ezstems/x")
    assert "gunicorn" in command("cat", "/proc/1/cmdline") or "ezstems" in command("cat", "/proc/1/cmdline")
    command("ezstems", "users", "add", "someone@example.com", "--plan", "pro", "--password", PASSWORD)
    caller = Caller(command("ezstems", "keys", "add", "someone@example.com").splitlines()[-1])
    first = caller.upload(11)
    caller.wait(first, "completed")
    stems = caller.stems(first)
    assert set(stems) == {"vocals.wav", "accompaniment.wav"} and min(stems.values()) > 11 * 44_100 * 4, stems
    cut_short, waiting = caller.upload(1200), caller.upload(300)
    caller.wait(cut_short, "processing")
    started = time.monotonic()
    compose("stop")
    seconds, code = time.monotonic() - started, inspect("{{.State.ExitCode}}")
    print(f"stopped in {seconds:.1f} s with exit code {code}")
    assert code == "0" and seconds < SLOWEST_STOP_SECONDS
    assert f"job {cut_short}: interrupted" in compose("logs", "server", check=False)
    compose("start")
    print(f"{healthy():.1f} s to /health")
    for job_id in (cut_short, waiting):
        caller.wait(job_id, "completed")
        print(job_id, caller.stems(job_id))
    assert caller.stems(first) == stems


def command(*arguments: str) -> str:
    """Run something in the container; return what it said."""
    return compose("exec", "-T", "server", *arguments, check=False)


if __name__ == "__main__":
    main()
