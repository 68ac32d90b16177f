"""The shipped systemd unit: valid, strict, and the real engine works inside what it forbids."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ezstems
from tests.support import audio_files, sandbox
from tests.support.callers import Caller
from tests.support.servers import ROOT, Server

UNIT = Path(ezstems.__file__).parent / "deploy" / "ezstems.service"
CHECKOUT = "/opt/ezstems"
# systemd-analyze's scale: 10 is an unprotected service, under 2 is "OK" for one on the network.
MOST_EXPOSURE = 1.5
KEPT_FROM_SERVICE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mlock(ctypes.create_string_buffer(9), 9) == -1 and ctypes.get_errno() == 1
"""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit as it would stand on this machine: of a path that isn't there nothing could be checked."""
    program = tmp_path / "checkout" / ".venv" / "bin" / "ezstems"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    path = tmp_path / "ezstems.service"
    path.write_text(UNIT.read_text().replace(CHECKOUT, str(tmp_path / "checkout")))
    return path


def analyze(*arguments: str) -> str:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    assert analyze("verify", "--man=no", str(unit)) == ""


@needs_systemd
def test_little_is_left_open(unit: Path) -> None:
    if "--offline" not in analyze("--help"):
        pytest.skip("this systemd-analyze judges running services alone")
    printed = analyze("security", "--offline=true", "--no-pager", str(unit))
    assert float(re.search(r"exposure level for ezstems.service: ([\d.]+)", printed)[1]) <= MOST_EXPOSURE, printed


def test_the_instance_is_the_folder_that_systemd_makes() -> None:
    assert sandbox.values(UNIT, "StateDirectory") == ["ezstems"]
    assert "EZSTEMS_INSTANCE=/var/lib/ezstems" in sandbox.values(UNIT, "Environment")
    (start,) = sandbox.values(UNIT, "ExecStart")
    assert f"    {start.removeprefix(f'{CHECKOUT}/')}\n" in (ROOT / "ezstems" / "docs" / "deployment.md").read_text()


@pytest.mark.skipif(not sandbox.available(), reason="systemd-analyze, setpriv or libseccomp is not installed")
def test_the_real_engine_works_within_the_unit(tmp_path: Path) -> None:
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(sandbox.command(UNIT, *command), capture_output=True, text=True, timeout=60)

    status = run("cat", "/proc/self/status").stdout
    assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE) and re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    assert (done := run(sys.executable, "-c", KEPT_FROM_SERVICE)).returncode == 0, done.stderr
    song = audio_files.song(2 * audio_files.RATE_HZ)
    content = audio_files.write_wav(tmp_path / "song.wav", song).read_bytes()
    server = Server(tmp_path / "instance", "wsgi:app", model="builtin", engine="openvino")
    server.arguments = sandbox.command(UNIT, *server.arguments)
    with server:
        caller = Caller(server, server.key())
        for output in ("wav", "m4a"):
            job_id = caller.send(content, stems=2, output=output).json()["data"]["id"]
            caller.wait(job_id, seconds=240)
            assert caller.get("download.php", id=job_id).content[:2] == b"PK"
        server.stop()
        assert "Traceback" not in server.log.read_text() and "not permitted" not in server.log.read_text()
