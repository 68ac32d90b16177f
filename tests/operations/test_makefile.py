"""What `make` finds out before it serves: a Python that suits, and a `.venv` that is still of use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = f"Python {sys.version_info[0]}.{sys.version_info[1]} in"
NEEDS = "EzStems needs Python 3.10 to 3.14"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("make"), reason="make is not installed"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the Makefile, and a lock that nothing is to be installed from."""
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").write_text(f'nothing==1 ; python_version < "3" --hash=sha256:{"0" * 64}\n')
    return folder


def make(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run make up to the installed lock."""
    command = ["make", "--no-print-directory", ".venv/.locked", *arguments]
    environ = os.environ | {"PIP_NO_INDEX": "1"} | environ
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)


def outdated(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(".venv was made for")]


def test_a_venv_that_is_of_no_use_any_more_is_made_anew_and_the_reason_told(folder: Path) -> None:
    python = f"PYTHON={sys.executable}"
    assert outdated(make(folder, python)) == []
    assert "is up to date" in make(folder, python).stdout
    moved = folder.rename(folder.with_name("two"))
    told = f".venv was made for {HERE} {folder}/.venv; now it is {HERE} {moved}/.venv."
    planned = make(moved, python, "--dry-run").stdout
    assert f'echo "{told}"' in planned and "-m venv --clear .venv" in planned
    for name in ("python", "python3"):
        (moved / ".venv" / "bin" / name).unlink(missing_ok=True)
    (moved / ".venv" / "bin" / "python").symlink_to("/usr/bin/python-that-was-removed")
    told = f".venv was made for {HERE} {folder}/.venv; now it is without a Python that runs."
    assert outdated(make(moved, python)) == [told]
    assert "is up to date" in make(moved, python).stdout
    assert subprocess.run([moved / ".venv" / "bin" / "python", "-c", ""], check=False).returncode == 0


def test_a_named_python_takes_the_place_of_another(folder: Path, tmp_path: Path) -> None:
    assert outdated(make(folder, f"PYTHON={sys.executable}")) == []
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 3.99\n")
    other.chmod(0o755)
    told = f".venv was made for {HERE} {folder}/.venv; {other} is another."
    planned = make(folder, f"PYTHON={other}", "--dry-run").stdout
    assert f'echo "{told}"' in planned and f"{other} -m venv --clear .venv" in planned
    assert "is up to date" in make(folder).stdout


def test_a_python_that_does_not_suit_is_named(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = make(folder, f"PYTHON={old}")
    assert done.returncode != 0
    assert f"{NEEDS}; {old} is not one: Python 3.9.2" in done.stderr
    assert not (folder / ".venv").exists()


def test_one_is_found_or_asked_for(folder: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "bash", "cat", "tail"):
        (tools / name).symlink_to(shutil.which(name))
    done = make(folder, PATH=str(tools))
    assert done.returncode != 0
    assert f"{NEEDS}; none is on the PATH. Name one: make PYTHON=/path/to/python3 .venv/.locked" in done.stderr
    for name, suits in (("python3", False), ("python3.13", True), ("python3.12", True)):
        (tools / name).write_text(f"#!{shutil.which('bash')}\nexit {int(not suits)}\n")
        (tools / name).chmod(0o755)
    dry = make(folder, "--dry-run", PATH=str(tools))
    assert "python3.13 -m venv --clear .venv" in dry.stdout
