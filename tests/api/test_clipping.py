"""A song over full scale, the whole way with the real engine: who is told of what was clipped, and what never is."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from scipy.io import wavfile
from sqlalchemy import update

from ezstems.audio.separate import Separator
from ezstems.database import db
from ezstems.models import Job
from tests.conftest import Account
from tests.support.audio_files import song, write_wav
from tests.support.multipart import Upload
from tests.support.separators import FastSeparator
from tests.support.sessions import log_in

SAMPLES = 60_001
ADVICE = "Separate again as 32-bit float WAV (wav32), which never clips."


@pytest.fixture(scope="module")
def hot() -> np.ndarray:
    """Return float32 (SAMPLES, 2) that reaches 6 dB over full scale."""
    audio = song(SAMPLES)
    return audio * (2 / np.abs(audio).max())


@pytest.fixture
def separated(
    upload: Upload, finished: Callable[..., Job], hot: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Job]:
    """Return a maker of completed jobs: the hot song in a format."""
    real = Separator(tmp_path, "builtin")
    monkeypatch.setattr(FastSeparator, "__call__", lambda self, *arguments, **options: real(*arguments, **options))
    content = write_wav(tmp_path / "hot.wav", hot).read_bytes()

    def made(output: str) -> Job:
        answer = upload(content, "hot.wav", cutoff="full", output=output)
        job = finished(answer.json["data"]["id"], seconds=120.0)
        assert (job.status, job.error) == ("completed", None)
        return job

    return made


def zipped(client: FlaskClient, account: Account, job: Job) -> zipfile.ZipFile:
    answer = client.get("/api/v1/download.php", query_string={"id": job.id}, headers=account.headers)
    assert answer.status_code == 200
    return zipfile.ZipFile(io.BytesIO(answer.data))


def test_the_whole_way(client: FlaskClient, account: Account, separated: Callable[[str], Job], hot: np.ndarray) -> None:
    floats, wav = separated("wav32"), separated("wav")
    with zipped(client, account, floats) as packed:
        assert packed.namelist() == ["vocals.wav", "accompaniment.wav"]
        assert packed.comment.decode() == "Separated by EzStems with the model: builtin 2stems"
        stems = {name[:-4]: wavfile.read(io.BytesIO(packed.read(name)))[1] for name in packed.namelist()}
    assert all(stem.dtype == np.float32 and stem.shape == (SAMPLES, 2) for stem in stems.values())
    assert np.abs(sum(stems.values()) - hot).max() < 4e-6
    over = {name: int((np.abs(np.rint(stem * 32768)) > 32768).sum()) for name, stem in stems.items()}
    lost = {name: count for name, count in over.items() if count}
    assert floats.clipped is None and sum(lost.values()) > 10
    assert wav.clipped_samples == lost
    with zipped(client, account, wav) as packed:
        model, advice = packed.comment.decode().split("\n")
    assert model == "Separated by EzStems with the model: builtin 2stems"
    for name, count in lost.items():
        assert f"{count:,} sample{'s' if count > 1 else ''} of {name}" in advice
    assert advice.endswith(ADVICE)

    log_in(client, account.email)
    assert advice in client.get(f"/songs/{wav.id}").text
    assert "lipped" not in client.get(f"/songs/{floats.id}").text
    for job in (wav, floats):
        stem = client.get(f"/songs/{job.id}/stems/vocals")
        assert (stem.status_code, stem.headers["Content-Type"]) == (200, "audio/wav")
        status = client.get("/api/v1/status.php", query_string={"id": job.id}, headers=account.headers)
        keys = ["id", "status", "queue_position", "stems", "created_at", "download_url"]
        assert list(status.json["data"]) == keys


def test_the_page_of_a_song_that_was_clipped(
    app: Flask, client: FlaskClient, account: Account, done: Callable[..., Job]
) -> None:
    job = done()
    log_in(client, account.email)
    page = f"/songs/{job.id}"
    assert "lipped" not in client.get(page).text
    with app.app_context():
        db.session.execute(update(Job).values(clipped='{"accompaniment": 1500}'))
        db.session.commit()
    told = re.search(r'<p class="notice">(Clipped.*?)</p>', client.get(page).text)[1]
    assert "1,500 samples of accompaniment" in told and ADVICE in told and 'href="/upload"' in told


def test_commands_tell(
    run: Callable[..., Result], done: Callable[..., Job], separator: FastSeparator, hot: np.ndarray,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    separator.clipped = {"vocals": 7}
    shown = run("jobs", "show", done().id).output
    assert re.search(r'^clipped +\{"vocals": 7\}$', shown, re.MULTILINE)
    separator.clipped = {}
    assert re.search(r"^clipped$", run("jobs", "show", done().id).output, re.MULTILINE)

    monkeypatch.setenv("EZSTEMS_MODEL", "builtin")
    source = write_wav(tmp_path / "hot.wav", hot)

    def separate(output: str) -> Result:
        target = tmp_path / output
        told = run("separate", str(source), "--output", output, "--cutoff", "full", "--directory", str(target))
        assert sorted(path.name for path in (target / "hot").iterdir()) == ["accompaniment.wav", "vocals.wav"]
        return told

    assert re.search(rf"wav/hot: Clipped.* samples of .*{re.escape(ADVICE)}$", separate("wav").stderr, re.MULTILINE)
    assert "lipped" not in separate("wav32").output
