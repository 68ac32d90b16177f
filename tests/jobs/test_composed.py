"""A composed model the whole way, with the real engine: everyone is told what made the stems, and which are whose."""

import io
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from ezstems.audio.separate import STEMS, Separator
from ezstems.models import Job
from ezstems.weights import folders
from tests.conftest import Account
from tests.support.multipart import Upload
from tests.support.sessions import log_in

NAMED = "official vocals + builtin 4stems"
ALL = f"official 2stems, {NAMED}, official vocals + builtin 5stems"


class Real(Separator):
    """Separate really where the other tests pretend to."""

    def release(self) -> None:
        """Hold nothing."""


@pytest.fixture
def separator(tmp_path: Path) -> Real:
    shutil.copytree(folders.BUILTIN / "2stems", tmp_path / "models" / "2stems")  # stands in for the official one
    return Real(tmp_path / "models")


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(metrics="on")


def test_its_name_reaches_everyone(
    app: Flask, upload: Upload, account: Account, finished: Callable[..., Job], run: Callable[..., Result]
) -> None:
    job = finished(upload(stems="4").json["data"]["id"], seconds=120.0)
    assert (job.status, job.model) == ("completed", NAMED)
    client = app.test_client()
    packed = client.get("/api/v1/download.php", query_string={"id": job.id}, headers=account.headers)
    with zipfile.ZipFile(io.BytesIO(packed.data)) as stems:
        assert stems.comment.decode().split("\n")[0] == f"Separated by EzStems with the model: {NAMED}"
        assert stems.namelist() == [f"{stem}.wav" for stem in STEMS[4]]
    assert re.search(rf"^model +{re.escape(NAMED)}$", run("jobs", "show", job.id).output, re.MULTILINE)
    assert NAMED in run("jobs", "list").output
    assert client.get("/health").json["model"] == ALL
    assert f'ezstems_model_info{{model="{ALL}"}} 1.0' in client.get("/metrics").text
    assert f"Model in use: {ALL}." in client.get("/").text
    log_in(client, account.email)
    page = client.get(f"/songs/{job.id}").text
    assert f"Separated by {NAMED}." in page
    notices = re.findall(r"<aside.*?</aside>", client.get("/upload").text, re.DOTALL)
    names = (NAMED, "official vocals + builtin 5stems")
    for notice, name in zip(notices, names, strict=True):
        text = " ".join(re.sub(r"<.*?>", "", notice).split())
        assert f"separated in part with the small bundled model ({name})" in text


def test_the_command_names_it(
    run: Callable[..., Result], song: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folders.BUILTIN / "2stems", tmp_path / "models" / "2stems")
    monkeypatch.setenv("EZSTEMS_MODELS", str(tmp_path / "models"))
    (tmp_path / "song.wav").write_bytes(song)
    done = run("separate", str(tmp_path / "song.wav"), "--stems", "5", "--directory", str(tmp_path / "out"))
    assert f"{tmp_path / 'out' / 'song'}: official vocals + builtin 5stems" in done.stderr
    assert sorted(path.stem for path in (tmp_path / "out" / "song").iterdir()) == sorted(STEMS[5])
