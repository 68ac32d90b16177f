"""What is killed, and how."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.support.servers import Server

EVERYTHING, WORKER, FFMPEG = KILLED = ("everything", "a worker", "ffmpeg")


def kill(server: Server, kind: str, random: Random) -> bool:
    """Kill everything at once, a worker, or an ffmpeg; return whether there was one."""
    if kind == EVERYTHING:
        server.kill()
        return True
    found = server.workers() if kind == WORKER else children(server.instance)
    if not found:
        return False
    with suppress(ProcessLookupError):
        os.kill(random.choice(sorted(found)), signal.SIGKILL)
    return True


def children(instance: Path) -> list[int]:
    """Return the processes of ffmpeg that work on an instance's files, whoever started them."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            works = entry.name.isdecimal() and str(instance).encode() in (entry / "cmdline").read_bytes()
            if works and "ffmpeg" in (entry / "exe").resolve().name:
                found.append(int(entry.name))
    return found
