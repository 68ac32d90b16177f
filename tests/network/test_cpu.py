"""What the processor is said to offer."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezstems.audio.ffmpeg import Child
from ezstems.network import cpu

X86 = "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu vme{}\nvmx flags\t: vnmi\n\nprocessor\t: 1\nflags\t\t: fpu\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd{} i8mm\nCPU implementer\t: 0x41\n"


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the file that stands for the kernel's, which isn't there yet."""
    asked: list[str] = []

    def fake(path: str) -> Path:
        asked.append(path)
        return tmp_path / "cpuinfo"

    with monkeypatch.context() as patched:
        patched.setattr(cpu, "Path", fake)
        cpu.has_bfloat16.cache_clear()
        yield tmp_path / "cpuinfo"
    cpu.has_bfloat16.cache_clear()
    assert asked == ["/proc/cpuinfo"]


@pytest.mark.parametrize(
    ("text", "there"),
    [
        (X86.format(" avx512_bf16 avx512_fp16"), True),
        (X86.format(" amx_tile amx_bf16"), True),
        (X86.format(" avx512f avx512_fp16"), False),
        (X86.format(" avx512_bf16x not_bf16"), False),
        (ARM.format(" bf16"), False),  # which OpenVINO doesn't use
        (ARM.format(" svebf16"), False),
        ("processor\t: 0\nmodel name\t: bf16\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_off_the_flags(cpuinfo: Path, text: str, there: bool) -> None:
    cpuinfo.write_text(text)
    assert cpu.has_bfloat16() is there


def test_a_kernel_that_says_nothing_has_none(cpuinfo: Path) -> None:
    assert cpu.has_bfloat16() is False


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        ("0::/", {".": "150000 100000"}, 1.5),  # as a container sees itself
        ("0::/", {".": "max 100000"}, math.inf),
        ("0::/", {}, math.inf),  # no container: the root has no limit
        ("0::/", {".": "junk"}, math.inf),
        ("0::/a.slice/b.service", {"a.slice/b.service": "max 100000", "a.slice": "20000 10000"}, 2.0),
        ("0::/a.slice/b.service", {"a.slice/b.service": "50000 100000", "a.slice": "300000 100000"}, 0.5),
        ("0::/hidden/from/here", {".": "400000 100000"}, 4.0),
        ("4:cpu,cpuacct:/a\n0::/b", {"a": "100000 100000", "b": "300000 100000"}, 3.0),
        ("4:cpu,cpuacct:/a", {"a": "100000 100000"}, math.inf),  # version 1 alone
        (None, {}, math.inf),
    ],
)
def test_the_least_quota_of_all_groups_around_counts(
    tmp_path: Path, group: str | None, limits: dict[str, str], expected: float
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    if group is not None:
        (tmp_path / "proc/self/cgroup").write_text(f"{group}\n")
    for folder, limit in limits.items():
        (tmp_path / "sys/fs/cgroup" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/fs/cgroup" / folder / "cpu.max").write_text(f"{limit}\n")
    assert cpu.quota(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [(0.25, 1), (1.0, 1), (1.5, 2), (3.0, 3), (64.0, 4), (math.inf, 4)])
def test_a_part_of_a_core_is_one(monkeypatch: pytest.MonkeyPatch, quota: float, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cpu, "quota", lambda: quota)
    assert cpu.cores() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_stepping_back_again_and_from_further_behind() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        for niceness, stepped in ((0, cpu.NICENESS), (cpu.NICENESS, cpu.NICENESS), (15, 15)):
            os.setpriority(os.PRIO_PROCESS, child.pid, max(niceness, os.getpriority(os.PRIO_PROCESS, child.pid)))
            cpu.lower_priority(child.pid)
            assert os.getpriority(os.PRIO_PROCESS, child.pid) == stepped
    finally:
        child.kill()
        child.wait()
    cpu.lower_priority(child.pid)  # it has ended: nothing to do


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no batches")
def test_children_run_in_batches_but_those_that_a_request_awaits() -> None:
    for awaited, policy in ((False, os.SCHED_BATCH), (True, os.SCHED_OTHER)):
        with Child(["sleep", "60"], awaited=awaited) as child:
            assert os.sched_getscheduler(child.process.pid) == policy
    cpu.use_batch_scheduling(child.process.pid)  # it has ended: nothing to do


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody has what others leave")
def test_threads_that_a_child_has_already_are_scheduled_too() -> None:
    starting = "[threading.Thread(target=time.sleep, args=(60,)).start() for _ in '123']"
    program = f"import threading, time; {starting}; print(flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout and child.stdout.readline()
        cpu.use_idle_scheduling(child.pid)
        threads = [int(path.name) for path in Path(f"/proc/{child.pid}/task").iterdir()]
        assert [os.sched_getscheduler(thread) for thread in threads] == 4 * [os.SCHED_IDLE]
        child.kill()


def test_the_file_is_read_once(cpuinfo: Path) -> None:
    cpuinfo.write_text(X86.format(" amx_bf16"))
    assert cpu.has_bfloat16()
    cpuinfo.unlink()
    assert cpu.has_bfloat16()
