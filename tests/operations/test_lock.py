"""The locks: pinned, hashed, free of contradictions on every Python and machine, and to be had there as wheels."""

import json
import re
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
LINUX = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28, 31, 34, 35)))
MACHINES = {
    "Linux x86-64": ("linux", "x86_64", [f"{libc}_x86_64" for libc in LINUX]),
    "Linux arm64": ("linux", "aarch64", [f"{libc}_aarch64" for libc in LINUX]),
    "macOS arm64": ("darwin", "arm64", ["macosx_14_0_arm64"]),
}
SYSTEMS = {"linux": "Linux", "darwin": "Darwin"}
UNREACHABLE = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "No matching index")

LOCKS = ("requirements.txt", "tests/requirements.txt")


class Pin(NamedTuple):
    """Hold one package of a lock, and the SHA-256 of its files."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def version(self) -> str:
        """Return the version that it is pinned to."""
        (only,) = self.requirement.specifier
        return only.version

    def is_for(self, judged_by: dict[str, str]) -> bool:
        """Tell whether pip takes it in some environment."""
        return self.requirement.marker is None or self.requirement.marker.evaluate(judged_by)


@cache
def locked(lock: str) -> tuple[Pin, ...]:
    """Return what a lock names."""
    blocks = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    hashes = re.compile(r"--hash=sha256:([0-9a-f]{64})")
    return tuple(Pin(Requirement(block.partition(" \\\n")[0]), frozenset(hashes.findall(block))) for block in blocks)


def environment(python: str, machine: str) -> dict[str, str]:
    """Return what markers are judged by on another Python and machine."""
    system, processor, _ = MACHINES[machine]
    own = default_environment() | {"python_version": python, "python_full_version": f"{python}.5", "extra": ""}
    return own | {"sys_platform": system, "platform_machine": processor, "platform_system": SYSTEMS[system]}


def chosen(lock: str, python: str, machine: str) -> dict[str, Pin]:
    """Return what pip takes of a lock on a Python and machine, by name; hold that it is one version each."""
    pins: dict[str, Pin] = {}
    for pin in locked(lock):
        if pin.is_for(environment(python, machine)):
            assert pin.requirement.name not in pins, pin.requirement
            pins[pin.requirement.name] = pin
    return pins


def asked(section: str, key: str, python: str, machine: str) -> list[Requirement]:
    """Return what setup.cfg asks for on a Python and machine."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    wanted = [Requirement(line) for line in settings[section][key].split("\n") if line]
    return [one for one in wanted if one.marker is None or one.marker.evaluate(environment(python, machine))]


def hold(wanted: list[Requirement], pins: dict[str, Pin]) -> None:
    for one in wanted:
        assert one.specifier.contains(pins[canonicalize_name(one.name)].version), one


everywhere = pytest.mark.parametrize("machine", MACHINES)
on_each = pytest.mark.parametrize("python", PYTHONS)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_pinned_and_hashed_and_names_no_index(lock: str) -> None:
    for requirement, hashes in locked(lock):
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)) and requirement.url is None and hashes, requirement
    assert not re.search(r"^--(?!hash)|https?:", (ROOT / lock).read_text(), re.MULTILINE)


@on_each
@everywhere
def test_what_setup_asks_for_is_locked_once(python: str, machine: str) -> None:
    served, tested = (chosen(lock, python, machine) for lock in LOCKS)
    hold(asked("options", "install_requires", python, machine), served)
    hold(asked("options.extras_require", "build", python, machine), served)
    hold(asked("options.extras_require", "test", python, machine), served | tested)
    for name in set(served) & set(tested):
        assert served[name].version == tested[name].version
    assert not {"pytest", "mypy", "ruff", "playwright", "hypothesis"} & set(served)
    tensorflows = {"tensorflow", "tensorflow-cpu"} & set(served)
    own = {"tensorflow-cpu" if machine == "Linux x86-64" else "tensorflow"}
    assert tensorflows == (set() if python == "3.14" else own), "two would share a folder"
    assert {"pandas", "tf-keras"} & set(served) == (set() if python == "3.14" else {"pandas", "tf-keras"})


def test_spleeter_alone_says_that_it_is_not_made_for_this_python() -> None:
    python = "{}.{}.{}".format(*sys.version_info[:3])
    names = {pin.requirement.name for lock in LOCKS for pin in locked(lock)}
    ranges = {canonicalize_name(one.name): one.metadata["Requires-Python"] or "" for one in distributions()}
    outside = {name for name in names & set(ranges) if not SpecifierSet(ranges[name]).contains(python)}
    assert outside <= {"spleeter"}


@pytest.mark.parametrize("machine", ["Linux arm64", "macOS arm64"])
def test_every_package_has_a_wheel_for_machines_that_are_not_here(machine: str, tmp_path: Path) -> None:
    """Ask the index, by pip; hashes are compared here: to be told them, pip would download it all."""
    python = "3.13"  # the last one with TensorFlow
    pins = chosen("requirements.txt", python, machine)
    lines = tmp_path / "requirements.txt"
    lines.write_text("".join(f"{name}=={pin.version}\n" for name, pin in pins.items()))
    report = tmp_path / "report.json"
    platforms = [part for platform in MACHINES[machine][2] for part in ("--platform", platform)]
    asking = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--ignore-installed"]
    asking += ["--ignore-requires-python", "--only-binary=:all:", "--python-version", python, *platforms]
    asking += ["--target", str(tmp_path / "target"), "--report", str(report), "-r", str(lines)]
    done = subprocess.run(asking, capture_output=True, text=True, timeout=280, check=False)
    if done.returncode and any(reason in done.stderr for reason in UNREACHABLE):
        pytest.skip("the package index can't be reached")
    assert done.returncode == 0, done.stderr
    files = json.loads(report.read_text())["install"]
    for file in files:
        name = canonicalize_name(file["metadata"]["name"])
        assert file["download_info"]["archive_info"]["hashes"]["sha256"] in pins[name].hashes, name
    assert len(files) == len(pins)
