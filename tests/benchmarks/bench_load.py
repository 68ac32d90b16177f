"""Measure how a real gunicorn with its default settings stands loads, against their targets.

    python tests/benchmarks/bench_load.py [--seconds 20] [--models DIRECTORY]

Status calls while a song is separated by the bundled model; others' calls while slow clients hold on; calls and uploads
beside who waits for a job's end, and how soon that is heard; the worker's memory while large files arrive; status calls
past a thousand waiting jobs.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.benchmarks import machine, table
from tests.benchmarks.song import make_song
from tests.support import loads
from tests.support.audio_files import silent_wav_head
from tests.support.callers import Caller
from tests.support.servers import Server

CONNECTIONS, CALLS_PER_SECOND = 20, 200
STATUS_MS, WAITING_MS, OTHERS_MS, GROWTH_MB = 100, 20, 100, 64
SLOW_CLIENTS, WAITING_JOBS, UPLOADS, UPLOAD_MIB = 32, 1000, 8, 75
WAITERS, SMALL_UPLOADS, UPLOAD_MS, HEARD_MS = 64, 40, 250, 500
SONG_MINUTES, SONG_SECONDS = 20, 4.0  # its length, and what its separation takes at least
START_SECONDS = 900


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each load lasts")
    chosen = parser.parse_args()
    print(machine.describe(), f"Load of the machine at the start: {os.getloadavg()[0]:.1f}.\n")
    table.head("load", "measured", "target", "met")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        while_separating(folder, chosen.seconds)
        with Server(folder / "instance", key_waiters=WAITERS) as server:
            caller = Caller(server, server.key(plan="pro"))
            beside_waits(caller, chosen.seconds)
            beside_slow_clients(caller, chosen.seconds)
            large_uploads(caller)
            past_waiting_jobs(caller, chosen.seconds)


def while_separating(folder: Path, seconds: float) -> None:
    """Call status.php while the engine works on one song after the other."""
    with Server(folder / "engine", "wsgi:app", model="builtin") as server:
        caller = Caller(server, server.key(plan="custom", max_mb=300))
        until(lambda: "warmed" in server.log.read_text(), "the engine is not ready")
        song = make_song(SONG_MINUTES * 60, folder).read_bytes()
        songs = 2 + int(1.25 * seconds / SONG_SECONDS)
        first, *_, last = (caller.upload(song, name="song.mp3")["id"] for _ in range(songs))
        until(lambda: caller.status(first).get("progress", 0) > 0, "the separation never began")
        path = f"status.php?id={last}"
        (worker,) = server.workers()
        before = cpu_seconds(worker)
        alone = loads.answer_seconds(caller, path, connections=1, per_second=10, seconds=seconds / 4)
        quiet, before = (cpu_seconds(worker) - before) / (seconds / 4), cpu_seconds(worker)
        taken = loads.answer_seconds(
            caller, path, connections=CONNECTIONS, per_second=CALLS_PER_SECOND, seconds=seconds
        )
        table.tell(f"the worker used {quiet:.2f} cores beforehand, {(cpu_seconds(worker) - before) / seconds:.2f} now")
        assert caller.status(last)["status"] != "completed", "the songs were too short"
    milliseconds("status call while songs are separated, 10 a second, p99", alone, 99, STATUS_MS)
    what = f"status call while songs are separated, {CALLS_PER_SECOND} a second from {CONNECTIONS} connections"
    milliseconds(f"{what}, median", taken, 50, STATUS_MS)
    milliseconds(f"{what}, p99", taken, 99, STATUS_MS)


def beside_waits(caller: Caller, seconds: float) -> None:
    """Call and upload alone, then beside all who may wait for a job's end; then let it end."""
    small = silent_wav_head(50_000) + bytes(49_956)
    caller.server.hold()
    url = f"{caller.server.api}/status.php?id={caller.upload(small)['id']}"

    def wait() -> float:
        answer = requests.get(url, headers=caller.headers | {"Prefer": "wait=60"}, timeout=90)
        assert answer.headers["Preference-Applied"] == "wait=60" and answer.json()["data"]["status"] == "completed"
        return time.monotonic()

    def upload_seconds() -> float:
        began = time.monotonic()
        caller.upload(small)
        return time.monotonic() - began

    def load(beside: str) -> None:
        path = url.rpartition("/")[2]
        taken = loads.answer_seconds(caller, path, connections=4, per_second=40, seconds=seconds / 4)
        uploads = [upload_seconds() for _ in range(SMALL_UPLOADS)]
        for what, values, most in (("status call", taken, OTHERS_MS), ("small upload", uploads, UPLOAD_MS)):
            for name, percent in (("median", 50), ("p99", 99)):
                milliseconds(f"{what} beside {beside}, {name}", values, percent, most)

    load("nobody who waits")
    with ThreadPoolExecutor(WAITERS) as pool:
        waits = [pool.submit(wait) for _ in range(WAITERS)]
        time.sleep(2)
        load(f"{WAITERS} who wait")
        ended = time.monotonic()
        caller.server.release()
        heard = [each.result() - ended for each in waits]
    milliseconds(f"a job's end, heard by the last of {WAITERS}", heard, 100, HEARD_MS)


def beside_slow_clients(caller: Caller, seconds: float) -> None:
    """Call keys.php while slow clients hold on."""
    slow_head = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    login = loads.head("/login", "Content-Type: application/x-www-form-urlencoded")
    kinds = {
        "heads": slow_head,
        "bodies of strangers": login,
        "bodies of somebody known": loads.upload_head(caller),
    }
    for kind, beginning in kinds.items():
        with loads.SlowClients(caller.server, SLOW_CLIENTS, beginning):
            taken = loads.answer_seconds(caller, "keys.php", connections=2, per_second=20, seconds=seconds / 4)
        milliseconds(f"call beside {SLOW_CLIENTS} slow {kind}, slowest", taken, 100, OTHERS_MS)
    with loads.SlowClients(caller.server, 500, b""):
        taken = loads.answer_seconds(caller, "keys.php", connections=2, per_second=20, seconds=seconds / 4)
    milliseconds("call beside 500 idle connections, slowest", taken, 100, OTHERS_MS)


def large_uploads(caller: Caller) -> None:
    """Upload large files at the same time."""
    (worker,) = caller.server.workers()
    memory = loads.Memory(worker)
    caller.server.hold()
    before_mb = memory.read_mb()
    with memory.watched():
        loads.upload_at_once(caller, UPLOADS, UPLOAD_MIB * 1024 * 1024)
    what = f"growth of the worker's memory in {UPLOADS} uploads of {UPLOAD_MIB} MB at a time"
    row(what, memory.most_mb - before_mb, GROWTH_MB, "MB")


def past_waiting_jobs(caller: Caller, seconds: float) -> None:
    """Call status.php for the last of many jobs."""
    caller.server.hold()
    waiting = [caller.upload(silent_wav_head(50_000) + bytes(49_956))["id"] for _ in range(2)][-1]
    last = loads.line_up(caller, waiting, WAITING_JOBS)
    taken = loads.answer_seconds(caller, f"status.php?id={last}", connections=1, per_second=20, seconds=seconds)
    what = f"status call for the last of {WAITING_JOBS} waiting jobs"
    milliseconds(f"{what}, median", taken, 50, WAITING_MS)
    milliseconds(f"{what}, p99", taken, 99, WAITING_MS)


def milliseconds(what: str, taken: list[float], percent: float, most: float) -> None:
    """Print a percentile of answers' seconds."""
    row(what, loads.percentile(taken, percent) * 1000, most, "ms")


def row(what: str, figure: float, most: float, unit: str) -> None:
    """Print a figure that has a limit."""
    table.line(what, f"{figure:.1f} {unit}", f"<= {most:g} {unit}", "yes" if figure <= most else "no")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def until(what: Callable[[], object], otherwise: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + START_SECONDS
    while not what():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


if __name__ == "__main__":
    main()
