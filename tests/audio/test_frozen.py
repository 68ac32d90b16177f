"""Frozen networks: made once and whole, named by what they depend on, never left half-made."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ezstems.audio import frozen, weights
from ezstems.audio.frozen import NETWORK, NotFrozen
from ezstems.audio.weights import Weights
from tests.audio.test_weights import write_checkpoint

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
FILL = 'touch "$target/network.xml" "$target/network.bin"'  # all that a child must do
Child = Callable[[str], Path]


@pytest.fixture
def found(tmp_path: Path) -> Weights:
    """Return weights whose checkpoint looks whole, but holds nothing."""
    return Weights("official", 2, write_checkpoint(tmp_path / "models" / "2stems") / "model", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """Return a function that puts a shell script in the place of the process that freezes; it returns its log.

    The script finds the folder to fill in `$target`.
    """

    def put(script: str) -> Path:
        python, log = tmp_path / "python", tmp_path / "runs.log"
        told = f'echo "$*" >> {shlex.quote(str(log))}'
        python.write_text(f"#!/bin/sh\ntarget=$6\n{told}\n{script}\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        return log

    return put


def left_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / frozen.FOLDER).iterdir()} - {".lock"}


def wait(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_key_names_all_that_a_network_depends_on(found: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [frozen.key(found)]
    assert frozen.key(Weights("official", 2, found.checkpoint, {})) == keys[0]
    keys.append(frozen.key(Weights("official", 2, found.checkpoint, {"separation_exponent": 1})))
    for library in ("openvino", "spleeter"):
        with monkeypatch.context() as updated:
            updated.setattr(frozen, "version", lambda name, new=library: "new" if name == new else "0")
            keys.append(frozen.key(found))
    with monkeypatch.context() as updated:
        updated.setattr(frozen, "FORMAT", frozen.FORMAT + 1)
        keys.append(frozen.key(found))
    index = found.checkpoint.with_name("model.index")
    index.write_bytes(index.read_bytes()[::-1])
    keys.append(frozen.key(found))
    assert len(set(keys)) == len(keys)


def test_a_network_is_frozen_once(found: Weights, folder: Path, child: Child) -> None:
    log = child(FILL)
    target = frozen.require(found, folder)
    assert target == frozen.require(found, folder) == frozen.folder(found, folder)
    assert left_in(folder) == {target.name}
    (line,) = log.read_text().splitlines()
    *before, part, key, parent = line.split()
    assert before == ["-m", "ezstems.audio.freeze", "official", "2", str(found.checkpoint.parent)]
    assert Path(part).parent == target.parent and (key, parent) == (frozen.key(found), str(os.getpid()))


def test_stale_networks_of_the_same_weights_go_and_others_stay(found: Weights, folder: Path, child: Child) -> None:
    child(FILL)
    names = ("official-2stems-old", "official-4stems-old", "builtin-2stems-old")
    for name in names:
        (folder / frozen.FOLDER / name).mkdir(parents=True)
        (folder / frozen.FOLDER / name / NETWORK).write_text("network")
    target = frozen.require(found, folder)
    assert left_in(folder) == {target.name, *names[1:]}


@pytest.mark.parametrize("left", ["network.xml", "network.bin", "something"])
def test_what_was_half_deleted_is_made_again(left: str, found: Weights, folder: Path, child: Child) -> None:
    child(FILL)
    target = frozen.folder(found, folder)
    target.mkdir(parents=True)
    (target / left).write_text("half")
    frozen.require(found, folder)
    assert left_in(folder) == {target.name}
    assert {path.name for path in target.iterdir()} == {"network.xml", "network.bin"}


def test_what_a_killed_one_left_is_removed(found: Weights, folder: Path, child: Child) -> None:
    child(FILL)
    part = folder / frozen.FOLDER / ".official-2stems-old.123.part"
    part.mkdir(parents=True)
    (part / "network.pb").write_text("half")
    target = frozen.require(found, folder)
    assert left_in(folder) == {target.name}


def test_modules_of_the_current_folder_are_not_for_the_child(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('read from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert frozen.require(weights.find("official", 2, models), tmp_path / "models").is_dir()


def test_a_checkpoint_that_changes_meanwhile_is_not_taken(models: Path, tmp_path: Path) -> None:
    found = weights.find("official", 2, models)
    remembered = Weights(found.source, found.stems, found.checkpoint, found.overrides | {"separation_exponent": 1})
    with pytest.raises(NotFrozen, match="the checkpoint has changed"):
        frozen.require(remembered, tmp_path)
    assert left_in(tmp_path) == set()


def test_the_child_dies_with_the_process_that_wants_it(models: Path, tmp_path: Path) -> None:
    asker = ask(weights.find("official", 2, models), tmp_path)
    wait(lambda: children(asker.pid))
    (child,) = children(asker.pid)
    # By then it has asked to die with its parent, and is seconds from its end.
    wait(lambda: "tensorflow" in Path(f"/proc/{child}/maps").read_text())
    asker.kill()
    asker.wait(60)
    wait(lambda: ended(child))
    (part,) = left_in(tmp_path)
    assert part.endswith(".part") and not (tmp_path / frozen.FOLDER / part / NETWORK).exists()


def test_two_processes_freeze_once(found: Weights, folder: Path, child: Child) -> None:
    go = folder / "go"
    log = child(f"while ! [ -e {shlex.quote(str(go))} ]; do sleep 0.05; done\n{FILL}")
    askers = [ask(found, folder) for _ in range(2)]
    lock = str(folder / frozen.FOLDER / ".lock")
    wait(lambda: all(lock in opened(asker.pid) for asker in askers))
    go.touch()
    assert [asker.wait(60) for asker in askers] == [0, 0]
    assert len(log.read_text().splitlines()) == 1
    assert left_in(folder) == {frozen.folder(found, folder).name}


def test_a_child_that_fails_leaves_nothing(found: Weights, folder: Path, child: Child) -> None:
    child(f"{FILL}\necho no space >&2\nexit 3")
    with pytest.raises(NotFrozen, match=r"^freezing official 2stems ended with 3: 'no space\\n'$"):
        frozen.require(found, folder)
    assert left_in(folder) == set()
    child(FILL)
    assert frozen.require(found, folder).is_dir()


def test_a_checkpoint_that_does_not_fit_says_so(models: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(models, tmp_path / "models", ignore=shutil.ignore_patterns(frozen.FOLDER, "config.json"))
    with pytest.raises(NotFrozen, match=r"conv2d/kernel=\[5, 5, 2, 4\] must be \[5, 5, 2, 16\]"):
        frozen.require(weights.find("official", 2, folder), folder)
    assert left_in(folder) == set()


def test_a_child_that_hangs_is_ended(
    found: Weights, folder: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = child('echo $$ >> "$0.pid"\nexec sleep 600')
    monkeypatch.setattr(frozen, "FREEZE_SECONDS", 1)
    with pytest.raises(NotFrozen, match="^official 2stems was not frozen within 1 seconds$"):
        frozen.require(found, folder)
    assert ended(log.with_name("python.pid").read_text().strip())
    assert left_in(folder) == set()


def test_a_folder_that_cannot_be_written(found: Weights, folder: Path) -> None:
    (folder / frozen.FOLDER).write_text("in the way")
    with pytest.raises(NotFrozen, match=f"could not be frozen: {folder / frozen.FOLDER}: File exists") as error:
        frozen.require(found, folder)
    assert isinstance(error.value.__cause__, OSError)


def test_a_child_that_writes_nothing(found: Weights, folder: Path, child: Child) -> None:
    child("true")
    with pytest.raises(NotFrozen, match="frozen into nothing"):
        frozen.require(found, folder)
    assert left_in(folder) == set()


def ask(found: Weights, folder: Path) -> "subprocess.Popen[bytes]":
    """Start a process that requires a network; its child's Python is what this one's would be."""
    code = f"""
import sys
from pathlib import Path
from ezstems.audio import frozen, weights
sys.executable = {sys.executable!r}
checkpoint = Path({str(found.checkpoint.parent)!r})
frozen.require(weights.load({found.source!r}, {found.stems}, checkpoint), Path({str(folder)!r}))
"""
    return subprocess.Popen([PYTHON, "-c", code], cwd=ROOT)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def ended(pid: str) -> bool:
    """Tell whether a process has ended, waited for by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def opened(pid: int) -> set[str]:
    """Return the files that a process has open."""
    names = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed between the two looks
            names.add(str(path.readlink()))
    return names
