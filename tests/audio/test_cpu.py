"""What the processor is said to offer."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezstems.audio import cpu
from ezstems.audio.ffmpeg import Child

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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_stepping_back_again_and_from_further_behind() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        for niceness, stepped in ((0, cpu.NICENESS), (cpu.NICENESS, cpu.NICENESS), (15, 15)):
            os.setpriority(os.PRIO_PROCESS, child.pid, max(niceness, os.getpriority(os.PRIO_PROCESS, child.pid)))
            cpu.step_back(child.pid)
            assert os.getpriority(os.PRIO_PROCESS, child.pid) == stepped
    finally:
        child.kill()
        child.wait()
    cpu.step_back(child.pid)  # it has ended: nothing to do


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no batches")
def test_children_run_in_batches_but_those_that_a_request_awaits() -> None:
    for awaited, policy in ((False, os.SCHED_BATCH), (True, os.SCHED_OTHER)):
        with Child(["sleep", "60"], awaited=awaited) as child:
            assert os.sched_getscheduler(child.process.pid) == policy
    cpu.run_in_batches(child.process.pid)  # it has ended: nothing to do


def test_the_file_is_read_once(cpuinfo: Path) -> None:
    cpuinfo.write_text(X86.format(" amx_bf16"))
    assert cpu.has_bfloat16()
    cpuinfo.unlink()
    assert cpu.has_bfloat16()
