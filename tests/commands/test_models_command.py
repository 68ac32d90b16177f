"""`ezstems models`: the weights are listed and fetched."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from ezstems.errors import FetchFailed
from ezstems.weights import fetch, folders
from tests.support import checkpoints

Run = Callable[..., Result]
SMALL = [2, 2, 2, 2, 2, 2]


@pytest.mark.slow  # it makes a checkpoint
def test_models_are_listed(run: Run, instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.make(instance / "models", 2, SMALL)
    run("users", "add", "a@example.com", "--password", "a password")
    *lines, meant = run("models", "list").output.splitlines()
    rows = [line.split() for line in lines]
    assert rows[0][:5] == ["SOURCE", "MODEL", "STATE", "MB", "FROM"]
    states = {(row[0], row[1]): row[2] for row in rows[1:]}
    assert set(states) == {(source, f"{stems}stems") for source in folders.SOURCES for stems in folders.STEM_COUNTS}
    assert (states["official", "2stems"], states["official", "4stems"]) == ("complete", "missing")
    composed = ", ".join(f"official vocals + builtin {stems}stems" for stems in (4, 5))
    assert meant == f"EZSTEMS_MODEL=auto: official 2stems, {composed}"
    monkeypatch.setenv("EZSTEMS_MODEL", "official")
    assert "EZSTEMS_MODEL=official: official weights are missing: 4stems" in run("models", "list").output


def test_fetching_names_what_it_fetches_and_stops_at_the_first_failure(
    run: Run, instance: Path, monkeypatch: pytest.MonkeyPatch
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
    asked.clear()
    result = run("models", "fetch", code=1)
    assert isinstance(result.exception, FetchFailed)
    assert [stems for stems, _ in asked] == [2, 4]
    run("models", "fetch", "3stems", code=2)
