"""`ezstems models`: the weights are listed, fetched, and frozen for the fast engine."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from ezstems.audio import fetch, frozen, weights
from ezstems.audio.separate import Separator
from ezstems.errors import FetchFailed
from tests.audio import checkpoints

Run = Callable[..., Result]
SMALL = [2, 2, 2, 2, 2, 2]


@pytest.fixture
def asked_to_freeze(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the stems that were to be frozen; nothing is, and 4 stems can't be."""
    asked: list[int] = []

    def freeze(self: Separator, stems: int) -> bool:
        asked.append(stems)
        return stems != 4

    monkeypatch.setattr(Separator, "freeze", freeze)
    return asked


def test_models_are_listed(run: Run, instance: Path) -> None:
    checkpoints.make(instance / "models", 2, SMALL)
    run("users", "add", "a@example.com", "--password", "a password")
    rows = [line.split() for line in run("models", "list").output.splitlines()]
    assert rows[0][:4] == ["SOURCE", "MODEL", "STATE", "MB"]
    states = {(row[0], row[1]): row[2] for row in rows[1:]}
    assert set(states) == {(source, f"{stems}stems") for source in weights.SOURCES for stems in weights.STEMS}
    assert (states["official", "2stems"], states["official", "4stems"]) == ("complete", "missing")


def test_fetching_names_what_it_fetches_and_stops_at_the_first_failure(
    run: Run, instance: Path, asked_to_freeze: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, Path]] = []

    def fake(stems: int, folder: Path, *, progress: Callable[[int, int | None], None]) -> bool:
        asked.append((stems, folder))
        progress(10, 100)
        if stems == 4:
            raise FetchFailed("could not reach the release")
        return True

    monkeypatch.setattr(fetch, "fetch", fake)
    run("models", "fetch", "5stems", "2stems")
    assert asked == [(5, instance / "models"), (2, instance / "models")]
    assert asked_to_freeze == [5, 2]
    asked.clear()
    result = run("models", "fetch", code=1)
    assert isinstance(result.exception, FetchFailed)
    assert [stems for stems, _ in asked] == [2, 4] and asked_to_freeze == [5, 2]
    run("models", "fetch", "3stems", code=2)


def test_freezing_names_what_it_can_not_freeze(
    run: Run, asked_to_freeze: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("models", "freeze", "5stems", "2stems").stderr == "5stems: ready\n2stems: ready\n"
    assert asked_to_freeze == [5, 2]
    asked_to_freeze.clear()
    told = "4stems: only TensorFlow can run it here, which is slower"
    assert told in run("models", "freeze").stderr  # it serves
    assert asked_to_freeze == [2, 4, 5]
    monkeypatch.setenv("EZSTEMS_ENGINE", "openvino")
    assert f"Error: {told}" in run("models", "freeze", code=1).stderr
    run("models", "freeze", "3stems", code=2)


def test_what_is_missing_is_frozen(run: Run, instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = instance / "models"
    found = checkpoints.make(models, 2, SMALL)
    run("models", "freeze", "2stems")
    assert (frozen.folder(found, models) / frozen.NETWORK).is_file()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    run("models", "freeze", "2stems")  # here already
    checkpoints.make(models, 4, SMALL)
    assert "4stems: only TensorFlow" in run("models", "freeze", "2stems", "4stems").stderr
    assert [path.name for path in (models / frozen.FOLDER).glob("[!.]*")] == [frozen.folder(found, models).name]


def test_tensorflow_needs_nothing_frozen(run: Run, instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZSTEMS_ENGINE", "tensorflow")
    run("models", "freeze")
    assert not (instance / "models" / frozen.FOLDER).exists()
