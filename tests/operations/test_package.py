"""The wheel: it holds all of the package, and serves from where it is installed, whatever folder one stands in."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.servers import ROOT, Server


def tracked(*folders: str) -> list[str]:
    """Return the files that git keeps of some folders."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what git keeps, with an operator's secrets: a build leaves things behind."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    (source / "ezstems/deploy/cluster.env").write_text("POSTGRES_PASSWORD=secret\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index"]
    command = [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    (found,) = target.iterdir()
    return found


def test_the_wheel_holds_what_git_keeps_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert names == set(tracked("ezstems"))


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """Install the wheel into a fresh environment, which borrows only the libraries of this one; return its folder."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    # Not as a folder of sites: the editable installation of this checkout would come with it.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin" / "python")]
    command = [*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--force-reinstall", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_an_installed_server_works_from_anywhere_and_keeps_its_songs_apart(
    installed: Path, tmp_path: Path, song: bytes
) -> None:
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
    elsewhere.mkdir()
    home.mkdir()
    (elsewhere / "flask.py").write_text("raise SystemExit('the present folder is no place for modules')")
    before = files_of(installed)
    server = Server(home / ".local" / "share" / "ezstems", model="builtin")
    server.program = [str(installed / "bin" / "ezstems")]
    server.arguments = [*server.program, "serve"]
    server.cwd, server.log = elsewhere, tmp_path / "log"
    for name in ("EZSTEMS_INSTANCE", "PYTHONPATH", "XDG_DATA_HOME"):
        server.environ.pop(name, None)
    server.environ["HOME"] = str(home)
    with server:
        caller = Caller(server, server.key())
        job = caller.upload(song)
        caller.wait(job["id"])
        assert caller.get("download.php", id=job["id"]).content[:2] == b"PK"
        server.stop()
        assert server.process is not None and server.process.returncode == 0
    assert f"the instance lies in {server.instance}\n" in server.log.read_text()
    assert files_of(installed) == before
    assert [path.name for path in elsewhere.iterdir()] == ["flask.py"]


def test_the_readme_leaves_out_what_the_lock_does() -> None:
    text = (ROOT / "ezstems/docs/deployment.md").read_text()
    (excluded,) = re.findall(r"--excludes <\(printf '%s\\n' ([^)]+)\)", text)
    (unused,) = re.findall(r"^UNUSED := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(unused.split()) <= set(excluded.replace("\\\n", " ").split())
