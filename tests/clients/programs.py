"""Run the client programs of this folder as their users would."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from ezstems.files import exclusive_lock

HERE = Path(__file__).resolve().parent
RUN_SECONDS = 240
INSTALL_SECONDS = 120
UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH")


class Unavailable(Exception):
    """Say why packages of npm can't be had here."""


@cache
def install(source: Path) -> Path:
    """Install what a folder's package-lock.json pins, outside the tree, once a user; return `node_modules`."""
    if shutil.which("npm") is None:
        raise Unavailable("npm is not installed")
    locked = (source / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ezstems" / "node"
    folder = cache / hashlib.sha256(locked).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(cache / ".lock"), tempfile.TemporaryDirectory(dir=cache) as name:
        if not folder.exists():
            fresh = Path(name) / "fresh"
            fresh.mkdir()
            _install(source, fresh)
            fresh.rename(folder)
    return folder / "node_modules"


def _install(source: Path, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode and any(reason in done.stderr for reason in UNREACHABLE):
        raise Unavailable("the npm registry can't be reached")
    assert done.returncode == 0, done.stderr


def node_modules() -> Path:
    """Return the packages of the programs here; skip where they can't be had."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    try:
        return install(HERE)
    except Unavailable as reason:
        pytest.skip(str(reason))


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
