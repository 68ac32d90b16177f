"""The shipped systemd units: valid, strict, and the real engine works inside what they forbid."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ezstems
from tests.support import audio_files, sandbox
from tests.support.backends import Postgres, Redis
from tests.support.callers import Caller
from tests.support.clusters import Cluster
from tests.support.servers import Server

DEPLOY = Path(ezstems.__file__).parent / "deploy"
UNIT, WORKER = DEPLOY / "ezstems.service", DEPLOY / "ezstems-worker.service"
DOCUMENTS = {UNIT: "deployment.md", WORKER: "scaling.md"}
CHECKOUT = "/opt/ezstems"
# systemd-analyze's scale: 10 is an unprotected service, under 2 is "OK" for one on the network.
MOST_EXPOSURE = 1.5
KEPT_FROM_SERVICE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mlock(ctypes.create_string_buffer(9), 9) == -1 and ctypes.get_errno() == 1
"""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture(params=[UNIT, WORKER], ids=lambda unit: unit.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a unit as it would stand on this machine: of a path that isn't there nothing could be checked."""
    program = tmp_path / "checkout" / ".venv" / "bin" / "ezstems"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    path = tmp_path / request.param.name
    path.write_text(request.param.read_text().replace(CHECKOUT, str(tmp_path / "checkout")))
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
    assert float(re.search(rf"exposure level for {unit.name}: ([\d.]+)", printed)[1]) <= MOST_EXPOSURE, printed


@pytest.mark.parametrize("unit", [UNIT, WORKER], ids=lambda unit: unit.name)
def test_the_instance_is_the_folder_that_systemd_makes(unit: Path) -> None:
    assert sandbox.values(unit, "StateDirectory") == ["ezstems"]
    assert "EZSTEMS_INSTANCE=/var/lib/ezstems" in sandbox.values(unit, "Environment")
    (start,) = sandbox.values(unit, "ExecStart")
    document = DEPLOY.parent / "docs" / DOCUMENTS[unit]
    assert f"    {start.removeprefix(f'{CHECKOUT}/')}\n" in document.read_text()


def test_both_units_are_as_strict() -> None:
    """What the worker's has else is what it is; of the rest, only its addresses are open, and chown isn't."""

    def told(unit: Path) -> set[str]:
        lines = unit.read_text().partition("NoNewPrivileges")[2].splitlines()
        return {line for line in lines if line and not line.startswith("#")}

    assert told(UNIT) - told(WORKER) == {
        "SystemCallFilter=@chown capset", "IPAddressDeny=any", "IPAddressAllow=localhost",
    }  # fmt: skip
    assert told(WORKER) - told(UNIT) == {"SystemCallFilter=capset", "IPAddressAllow=any"}


@pytest.mark.skipif(not sandbox.available(), reason="systemd-analyze, setpriv or libseccomp is not installed")
def test_celerys_worker_works_within_its_unit(
    postgres: Postgres, redis: Redis, tmp_path: Path, song: bytes
) -> None:
    with Cluster(tmp_path, postgres, redis.new_url()) as cluster:
        web, worker = cluster.web(), cluster.worker(separations=2)
        worker.arguments = sandbox.command(WORKER, *worker.arguments)
        web.start()
        worker.start()
        caller = Caller(web, web.key())
        for _ in range(3):
            caller.wait(caller.upload(song)["id"])
        worker.stop()
        assert "Traceback" not in cluster.logs() and "not permitted" not in cluster.logs()


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
