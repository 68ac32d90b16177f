"""The machine that is measured, and what processes have used of it."""

import platform
import resource
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path

from ezstems.network.choice import resolve
from ezstems.network.cpu import BFLOAT16_FLAGS, cores

FLAGS = {"avx2", "avx512f", "asimd"} | BFLOAT16_FLAGS  # what the speed of a network hangs on

LIBRARIES = ("openvino", "tensorflow-cpu", "tensorflow", "spleeter")  # as far as they are installed


def describe() -> str:
    """Say in one line what is measured where, and when."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = FLAGS.intersection(fields.get("flags", fields.get("features", "")).split())
    processor = f"{fields.get('model name', platform.machine())} with {' '.join(sorted(flags))}"
    found = (one for name in LIBRARIES for one in distributions(name=name))
    versions = ", ".join(f"{one.name} {one.version}" for one in found)
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    return f"{processor}, {cores()} cores; network in {resolve('auto')}; {today}; {versions}."


def memory_mb(field: str, pid: int | str = "self") -> float:
    """Return VmHWM, the peak, or VmRSS, the present memory of a process."""
    # Not `ru_maxrss`: it counts what the process that started this one held.
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"{field} of process {pid} is not known")


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
