"""Run the client programs of this folder as their users would."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
RUN_SECONDS = 240
UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH")


@cache
def node_modules() -> Path:
    """Install what package-lock.json pins, outside the tree, once a session; skip where that can't be done."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ezstems-node-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    if done.returncode and any(reason in done.stderr for reason in UNREACHABLE):
        pytest.skip("the npm registry can't be reached")
    assert done.returncode == 0, done.stderr
    return folder / "node_modules"


def run(program: str, folder: Path, **environ: str) -> str:
    """Run a program of this folder in another folder; return what it printed, which must not include an error."""
    settings = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | environ
    if program.endswith(".js"):
        command = ["node", str(HERE / program)]
        settings["NODE_PATH"] = str(node_modules())
    else:
        command = [sys.executable, str(HERE / program)]
    done = subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def curl(folder: Path, *arguments: str) -> str:
    """Run curl in a folder; return what it printed."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["curl", "--silent", "--show-error", "--noproxy", "127.0.0.1", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
