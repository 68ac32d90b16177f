"""`ezstems remote separate` against our own server, by way of what cuts answers short."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import Result

from ezstems.remote import api as apis
from ezstems.remote.song import LONGEST_POLL_SECONDS
from tests.support.audio_files import song, write_wav
from tests.support.servers import Server
from tests.support.shortening import shortening

SAMPLES = 100_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("remote") / "instance", account_jobs=2) as server:
        yield server


@pytest.fixture
def key(served: Server, request: pytest.FixtureRequest) -> str:
    return served.key(f"{request.node.name}@example.com".replace("[", "").replace("]", ""))


@pytest.fixture
def separate(
    run: Callable[..., Result], served: Server, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Return a runner of the command that makes short pauses, a long one of which opens the gate of a held server."""

    def sleep(_api: apis.Api, seconds: float) -> None:
        if seconds > LONGEST_POLL_SECONDS:
            (served.instance / "hold").unlink(missing_ok=True)
        time.sleep(min(seconds, 0.05))

    monkeypatch.setattr(apis.Api, "sleep", sleep)
    monkeypatch.setenv("EZSTEMS_KEY", key)

    def invoke(url: str, *names: str, code: int = 0, options: tuple[str, ...] = ()) -> Result:
        files = [str(write_wav(tmp_path / f"{name}.wav", song(SAMPLES))) for name in names]
        monkeypatch.setenv("EZSTEMS_SERVER", url)
        return run("remote", "separate", *files, "--directory", str(tmp_path / "out"), *options, code=code)

    return invoke


def made(tmp_path: Path) -> list[str]:
    return sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))


def jobs_of(served: Server, key: str) -> int:
    mine = "SELECT COUNT(*) AS n FROM jobs JOIN api_keys USING (user_id) WHERE substr(tail, -8) = ?"
    return served.rows(mine, key[-8:])[0]["n"]


def test_more_songs_than_an_account_may_have_wait_their_turn(
    served: Server, separate: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "bad.mp3").write_bytes(b"no audio at all")
    names = ("a", "b", "c", "d")
    served.instance.joinpath("hold").touch()
    result = separate(served.url, *names, options=(str(tmp_path / "bad.mp3"), "--output", "wav32"), code=1)
    assert made(tmp_path) == sorted(f"{name}/{stem}.wav" for name in names for stem in ("vocals", "accompaniment"))
    assert "Too many jobs: " in result.stderr and "; trying again in 60 s\n" in result.stderr
    assert f"{tmp_path}/bad.mp3: Invalid audio file: " in result.stderr
    assert f"{tmp_path}/out/d: Separated by EzStems with the model: fast test model\n" in result.stderr


def test_a_download_that_is_cut_goes_on(served: Server, separate: Callable[..., Result], tmp_path: Path) -> None:
    """Every byte but the last half came, then nothing, then the rest."""
    with shortening(served.url, b"/download.php", 1500, 0) as proxy:
        result = separate(proxy.url, "song")
        assert proxy.cuts == []
    assert result.stderr.count("the connection broke; trying again") == 2
    assert made(tmp_path) == ["song/accompaniment.wav", "song/vocals.wav"]


def knows(served: Server, key: str, endpoint: str) -> bool:
    return requests.get(f"{served.api}/{endpoint}", headers={"Authorization": f"Bearer {key}"}, timeout=30).ok


def test_a_lost_answer_makes_no_second_job(
    served: Server, separate: Callable[..., Result], tmp_path: Path, key: str
) -> None:
    if not knows(served, key, "jobs.php"):
        pytest.skip("the server has no jobs.php, by which a client sees that it keeps an Idempotency-Key")
    with shortening(served.url, b"/upload.php", 0, 0) as proxy:
        separate(proxy.url, "song")
        assert proxy.cuts == []
    assert made(tmp_path) == ["song/accompaniment.wav", "song/vocals.wav"]
    assert jobs_of(served, key) == 1


def test_an_interruption_deletes_what_is_not_finished(
    served: Server, tmp_path: Path, key: str, song: bytes
) -> None:
    if not knows(served, key, "jobs.php"):
        pytest.skip("the server has no jobs.php")
    (tmp_path / "song.wav").write_bytes(song)
    hold = served.instance / "hold"
    hold.touch()
    try:
        program = [*served.program, "remote", "separate", "song.wav", "--server", served.url, "--key", key]
        process = subprocess.Popen(program, cwd=tmp_path, env=os.environ, stderr=subprocess.PIPE)
        assert process.stderr is not None
        while b"queued, job" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(2)
        _, told = process.communicate(timeout=60)
    finally:
        hold.unlink()
    assert process.returncode == 130 and b"is deleted at the server" in told
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]
