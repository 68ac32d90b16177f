"""A folder in another's place: killed at any moment, one of them is there, whole."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezstems.weights import fetch, swap
from tests.weights.test_weights import write_checkpoint

KILLED = 9
STEPS = 20


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an old folder, beside which a new one lies."""
    folder = tmp_path / "2stems"
    for path, text in ((folder, "old"), (swap.fresh(folder), "new")):
        path.mkdir()
        for name in ("one", "two"):
            (path / name).write_text(text)
    return folder


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Act in a process that is killed before its N-th change of the file system; tell whether it was."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED
    changes = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **named: Any) -> Any:
            nonlocal changes
            if changes == step:
                os._exit(KILLED)
            changes += 1
            return real(*args, **named)

        return change

    try:
        for module, name in ((os, "rename"), (os, "unlink"), (os, "rmdir"), (swap, "exchange")):
            setattr(module, name, counted(getattr(module, name)))
        act()
        os._exit(0)
    except BaseException:
        os._exit(1)


@pytest.mark.parametrize("can_exchange", [True, False], ids=["exchanged", "one after the other"])
def test_killed_at_any_moment_the_old_or_the_new_one_is_there(
    folder: Path, can_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(swap, "exchange", lambda _one, _other: False)
    elif not swap.exchange(folder, swap.fresh(folder)):
        pytest.skip("this file system can't exchange names")
    else:
        swap.exchange(folder, swap.fresh(folder))
    before = folder.with_name("before")
    shutil.copytree(folder, before / "2stems")
    shutil.copytree(swap.fresh(folder), before / ".2stems.new")
    seen, gaps = [], 0
    for step in range(STEPS):
        for path in folder.parent.glob("*2stems*"):
            swap.remove(path)
        shutil.copytree(before, folder.parent, dirs_exist_ok=True)
        killed = killed_at(step, lambda: swap.put(folder))
        gaps += not folder.exists()
        swap.recover(folder)
        assert content(folder) in ({"one": "old", "two": "old"}, {"one": "new", "two": "new"}), step
        seen.append(content(folder)["one"])
        if not killed:
            break
    assert not killed, "every moment was tried"
    assert seen[0] == "old" and seen[-1] == "new" and seen == sorted(seen, reverse=True)
    assert gaps == (0 if can_exchange else 1)
    assert [path.name for path in folder.parent.iterdir() if "2stems" in path.name] == ["2stems"]


def test_the_start_puts_back_what_a_killed_fetch_moved_away(tmp_path: Path) -> None:
    models = tmp_path / "models"
    fetch.recover(models)
    assert not models.exists()
    write_checkpoint(models / ".2stems.old")
    write_checkpoint(models / ".4stems.old")
    write_checkpoint(models / "4stems")
    with fetch.exclusive_lock(models / fetch.LOCK):
        fetch.recover(models)
        assert not (models / "2stems").exists(), "a fetch is at work"
    fetch.recover(models)
    assert (models / "2stems" / "checkpoint").exists()
    assert (models / ".4stems.old").exists(), "the next fetch deletes it"


def test_a_link_is_replaced_and_not_what_it_leads_to(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    swap.put(folder)
    assert not folder.is_symlink() and content(folder)["one"] == "new" and content(elsewhere)["one"] == "old"
