"""The documented client code against a real server: real gunicorn, the real engine, a small random network."""

import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.clients.programs import curl, run
from tests.support import audio_files, checkpoints
from tests.support.servers import Server

STEMS = ["vocals.wav", "drums.wav", "bass.wav", "other.wav"]
SECONDS = 13  # more than one tile
FILTERS = [4, 4, 8, 8, 16, 16]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """Return a server of the real engine, whose 4stems network is small and random, and a key."""
    instance = tmp_path_factory.mktemp("clients") / "instance"
    checkpoints.make(instance / "models", 4, FILTERS)
    with Server(instance, "wsgi:app") as server:
        yield server, server.key(plan="pro")


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Return the documentation's song.mp3."""
    wav = audio_files.write_wav(tmp_path / "song.wav", audio_files.song(SECONDS * audio_files.RATE_HZ + 321))
    mp3 = audio_files.convert(wav, "song.mp3", "-b:a", "192k")
    wav.unlink()
    return mp3


def check_zip(path: Path, song: Path) -> None:
    """Hold the ZIP against the contract: the stems at its top level, each as long as the decoded song."""
    mix = audio_files.read(song)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == STEMS
        assert archive.testzip() is None
        assert b"official 4stems" in archive.comment
        archive.extractall(path.parent)
    stems = [audio_files.read(path.parent / name) for name in STEMS]
    assert [len(stem) for stem in stems] == [len(mix)] * 4
    levels = [float(np.abs(stem).max()) for stem in stems]
    assert min(levels) > 0.001, levels
    for number, stem in enumerate(stems):
        assert all(not np.array_equal(stem, other) for other in stems[:number])


@pytest.mark.parametrize("program", ["sample.py", "sample.js"])
def test_the_documented_sample_gets_its_stems(
    server: tuple[Server, str], song: Path, tmp_path: Path, program: str
) -> None:
    printed = run(
        program,
        tmp_path,
        EZSTEMS_API=server[0].api,
        EZSTEMS_KEY=server[1],
        EZSTEMS_FILE="song.mp3",
    )
    assert printed == ""
    check_zip(tmp_path / "stems.zip", song)


def test_the_documented_curl_lines_get_the_stems(server: tuple[Server, str], song: Path, tmp_path: Path) -> None:
    api, key = server[0].api, ("-H", f"Authorization: Bearer {server[1]}")

    answer = curl(tmp_path, "-X", "POST", f"{api}/upload.php", *key, "-F", "file=@song.mp3", "-F", "stems=4")

    upload = json.loads(answer)["data"]
    job_id = upload["id"]
    assert (upload["stems"], upload["status"]) == ("4", "queued")
    assert upload["check_status_endpoint"] == f"/api/v1/status.php?id={job_id}"
    deadline = time.monotonic() + 120
    while True:
        job = json.loads(curl(tmp_path, *key, f"{server[0].url}{upload['check_status_endpoint']}"))["data"]
        if job["status"] == "completed":
            break
        assert job["status"] in ("queued", "processing") and time.monotonic() < deadline, job
        time.sleep(0.2)
    assert job["download_url"] == f"/api/v1/download.php?id={job_id}"
    curl(tmp_path, "-X", "GET", f"{api}/download.php?id={job_id}", *key, "--output", "stems.zip")
    check_zip(tmp_path / "stems.zip", song)


def test_the_demo_account_s_line_works_where_there_is_no_curl(tmp_path: Path) -> None:
    audio_files.convert(audio_files.write_wav(tmp_path / "song.wav", audio_files.song(44_100)), "song.mp3")
    with Server(tmp_path / "instance") as server:
        server.environ["PATH"] = ""
        told = server.command("demo")
        assert "curl" not in told
        line = told[told.index(sys.executable) :]
        bash = ["/bin/bash", "-c", line]
        done = subprocess.run(bash, cwd=tmp_path, env=server.environ, capture_output=True, text=True, timeout=60)
    answer = json.loads(done.stdout)
    assert answer["success"] and answer["data"]["stems"] == "2", done.stderr
