"""The README's curl session works as printed."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.audio.audio_files import convert, read, song, write_wav
from tests.servers import ROOT, Server

SECONDS = 2.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a `.venv/bin/ezstems` and a `song.mp3`, as the session expects."""
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    convert(write_wav(tmp_path / "song.wav", song(int(SECONDS * 44_100))), "song.mp3")
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_session_works_as_printed(folder: Path, instance: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    with Server(instance, "wsgi:app", model="builtin") as server:
        session = blocks[0].replace("http://127.0.0.1:8000", server.url)
        assert session.count(server.url) == 3
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", session],
            cwd=folder,
            env=server.environ | {"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=200,
        )
    assert done.returncode == 0, done.stderr
    assert '"status":"completed"' in done.stderr
    with zipfile.ZipFile(folder / "stems.zip") as packed:
        assert packed.namelist() == ["vocals.wav", "accompaniment.wav"]
        assert b"2stems" in packed.comment
        packed.extractall(folder)
    expected = len(read(folder / "song.mp3"))
    assert [len(read(folder / f"{stem}.wav")) for stem in ("vocals", "accompaniment")] == [expected] * 2


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
