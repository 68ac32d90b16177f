"""Serve with `make run` as a newcomer does, separate a song with the demo account's key, and stop it with Ctrl-C."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
import zipfile
from collections.abc import Callable

import requests  # the server's own; there is no curl

SECONDS = 600  # the official weights are fetched before it serves, as fast as the network is
STEMS = ["vocals.wav", "accompaniment.wav"]
SAMPLES = 5 * 44_100
SAWTOOTH = [at * 150 % 16_000 - 8_000 for at in range(SAMPLES)]


def song() -> bytes:
    """Return a WAV of some seconds."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(44_100)
        wav.writeframes(b"".join(value.to_bytes(2, "little", signed=True) * 2 for value in SAWTOOTH))
    return file.getvalue()


def wait(what: str, ready: Callable[[], bool]) -> None:
    """Wait until something is ready; end where that takes too long."""
    deadline = time.monotonic() + SECONDS
    while not ready():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {SECONDS} s")
        time.sleep(0.1)


def healthy(url: str) -> bool:
    """Tell whether the server answers that it is well."""
    try:
        return requests.get(f"{url}/health", timeout=5).json()["status"] == "ok"
    except requests.RequestException:
        return False


def separate(url: str, key: str) -> zipfile.ZipFile:
    """Return the ZIP of a song, by way of the API."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {key}"

        def ask(name: str) -> requests.Response:
            answer = session.get(f"{url}/api/v1/{name}.php", params={"id": job_id})
            answer.raise_for_status()
            return answer

        sent = session.post(f"{url}/api/v1/upload.php", files={"file": ("song.wav", song())}, data={"stems": 2})
        sent.raise_for_status()
        job_id = sent.json()["data"]["id"]
        wait("the job", lambda: ask("status").json()["data"]["status"] not in ("queued", "processing"))
        return zipfile.ZipFile(io.BytesIO(ask("download").content))


def main() -> None:
    """Do it all; leave nothing running."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environ = os.environ | {"EZSTEMS_MODEL": "builtin", "EZSTEMS_BIND": address}
    url, lines, began = f"http://{address}", [], time.monotonic()
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    make = subprocess.Popen(["make", "run"], env=environ, start_new_session=True, **output)

    def read() -> None:
        for line in make.stdout or ():
            lines.append(line)
            sys.stdout.write(line)

    threading.Thread(target=read, daemon=True).start()
    try:
        wait("/health", lambda: make.poll() is not None or healthy(url))
        if make.poll() is not None:
            sys.exit(f"`make run` ended with {make.returncode}")
        served = time.monotonic() - began
        packed = separate(url, re.findall(r"API key +(\w+)", "".join(lines))[0])
        assert packed.namelist() == STEMS, packed.namelist()
        for name in STEMS:
            with packed.open(name) as file, wave.open(file) as stem:
                assert stem.getnframes() == SAMPLES, name
        done = time.monotonic() - began
        os.killpg(make.pid, signal.SIGINT)
        make.wait(30)
    finally:
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGKILL)
    assert not healthy(url), "it goes on after its stop"
    print(f"Served after {served:.0f} s; a song's ZIP ({packed.comment.decode()}) after {done:.0f} s.", flush=True)


if __name__ == "__main__":
    main()
