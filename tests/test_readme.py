"""The sessions of README and documentation work as printed."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezstems import config
from ezstems.web.site.manual import DOCS, PAGES
from tests.support.audio_files import convert, read, song, write_wav
from tests.support.servers import ROOT, Server

SECONDS = 2.0
BASH = re.compile(r"```bash\n(.*?)```", re.DOTALL)
# Pages with sessions, and what those print at least.
PRINTED = {
    "commands": ("someone@example.com", "laptop", "accompaniment.flac", "vocals.flac"),
    "clients": ("accompaniment.flac", "vocals.flac", "drums.wav"),
    "monitoring": ('"status":"ok"',),
    "backup": ("ezstems.tar", "restored"),
    "contributing": (config.table(),),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a `.venv/bin/ezstems` and a `song.mp3`, as the session expects."""
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    convert(write_wav(tmp_path / "song.wav", song(int(SECONDS * 44_100))), "song.mp3")
    return tmp_path


def run(session: str, server: Server, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a session in a folder; return what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", session.replace("http://127.0.0.1:8000", server.url)],
        cwd=folder,
        env=server.environ | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_session_works_as_printed(folder: Path, instance: Path) -> None:
    (session,) = BASH.findall((ROOT / "README.md").read_text())
    assert session.count("http://127.0.0.1:8000") == 3
    with Server(instance, "wsgi:app", model="builtin") as server:
        done = run(session, server, folder)
    assert '"status":"completed"' in done.stderr
    with zipfile.ZipFile(folder / "stems.zip") as packed:
        assert packed.namelist() == ["vocals.wav", "accompaniment.wav"]
        assert b"2stems" in packed.comment
        packed.extractall(folder)
    expected = len(read(folder / "song.mp3"))
    assert [len(read(folder / f"{stem}.wav")) for stem in ("vocals", "accompaniment")] == [expected] * 2


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("docs") / "instance", model="builtin") as server:
        yield server


def sessions(page: str) -> list[str]:
    return BASH.findall((DOCS / f"{page}.md").read_text())


def test_every_page_with_sessions_is_known() -> None:
    assert [page for page in PAGES if sessions(page)] == [*PRINTED]


@pytest.mark.parametrize("page", PRINTED)
def test_the_sessions_of_a_page_work_as_printed(page: str, folder: Path, served: Server) -> None:
    session = "\n".join(sessions(page))
    if "curl" in session and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = run(session, served, folder)
    for text in PRINTED[page]:
        assert text in done.stdout, done.stdout
