"""What the machine's processor offers, and who goes first on it."""

import math
import os
import sys
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

# Not ARM's `bf16`: OpenVINO computes in bfloat16 on x86 alone.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
NICENESS = 10
# What somebody waits for, behind the separations: a child's own, and its session's.
BEHIND_NICENESS, BEHIND_SESSION, LAST_SESSION = 15, "10", "19"
AUTOGROUP_TRIES, AUTOGROUP_AGAIN_SECONDS = 20, 0.1


def cores() -> int:
    """Return the number of cores that this process may use; part of one, in a container's or a unit's quota, is one."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(there, quota()))


def quota(root: Path = Path("/")) -> float:
    """Return how many cores' time the control groups (version 2) around this process leave it; infinity for all."""
    quotas = [math.inf]
    with suppress(OSError, ValueError):  # a system without control groups, or one that shows none of them
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        group = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
        mount = root / "sys/fs/cgroup"
        folder = mount / group.lstrip("/")
        for level in (folder, *folder.parents):
            if level.is_relative_to(mount) and (limit := level / "cpu.max").exists():
                microseconds, period = limit.read_text().split()
                quotas.append(int(microseconds) / int(period) if microseconds != "max" else math.inf)
    return min(quotas)


def lower_priority(task: int | None = None, niceness: int = NICENESS) -> None:
    """Leave the processor to whoever answers requests: a thread that computes, this one by default, or a child.

    Not so a thread that mostly runs Python: set aside while it holds the interpreter, it would stop all the others.
    """
    if sys.platform == "linux":  # where a thread has a niceness of its own
        with suppress(OSError):  # the child has ended, or a sandbox forbids it
            task = threading.get_native_id() if task is None else task
            os.setpriority(os.PRIO_PROCESS, task, max(niceness, os.getpriority(os.PRIO_PROCESS, task)))


def _schedule(child: int, policy: int) -> None:
    """Have the kernel schedule a child's threads by a policy: its first one's is what later ones begin with."""
    if sys.platform == "linux":
        with suppress(OSError):  # the child has ended, or a sandbox forbids it
            os.sched_setscheduler(child, policy, os.sched_param(0))
            for thread in Path(f"/proc/{child}/task").iterdir():
                with suppress(ProcessLookupError):
                    os.sched_setscheduler(int(thread.name), policy, os.sched_param(0))


def use_batch_scheduling(child: int) -> None:
    """Let a child's threads, which pass small pieces on, wake each other less often: a quarter less of the processor.

    To be called as it starts.
    """
    if sys.platform == "linux":
        _schedule(child, os.SCHED_BATCH)


def use_idle_scheduling(child: int) -> None:
    """Let a child, which leads a session, have what nobody else wants of the processor."""
    if sys.platform == "linux":
        _schedule(child, os.SCHED_IDLE)
        _lower_session(child, LAST_SESSION)


def go_behind_separations(child: int) -> None:
    """Leave the processor to separations: a child, which leads a session, gets a tenth of a core that one wants."""
    if sys.platform == "linux":
        lower_priority(child, BEHIND_NICENESS)
        _lower_session(child, BEHIND_SESSION)


def _lower_session(leader: int, niceness: str) -> None:
    """Set a session's niceness, where sessions share the processor first, and then each one's processes."""
    for _ in range(AUTOGROUP_TRIES):
        try:
            Path(f"/proc/{leader}/autogroup").write_text(niceness)
        except BlockingIOError:  # who isn't root may set one in 0.1 s
            time.sleep(AUTOGROUP_AGAIN_SECONDS)
        except OSError:
            return
        else:
            return


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Tell whether the engines multiply bfloat16 by an instruction of the processor's own."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not BFLOAT16_FLAGS.isdisjoint(flags.split())
