"""The sessions of README and documentation work as printed."""

import inspect
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ezstems import config
from ezstems.jobs.celery_app import QUEUE
from ezstems.web import metrics
from ezstems.web.site.manual import DOCS, PAGES
from tests.support.audio_files import convert, read, song, write_wav
from tests.support.backends import ObjectStore, Postgres, Redis
from tests.support.servers import ROOT, Server

SECONDS = 2.0
BASH, YAML = (re.compile(rf"```{kind}\n(.*?)```", re.DOTALL) for kind in ("bash", "yaml"))
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
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
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
    assert {page for page in PAGES if sessions(page)} == {"scaling", *PRINTED}


@pytest.mark.parametrize("page", PRINTED)
def test_the_sessions_of_a_page_work_as_printed(page: str, folder: Path, served: Server) -> None:
    session = "\n".join(sessions(page))
    if "curl" in session and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = run(session, served, folder)
    for text in PRINTED[page]:
        assert text in done.stdout, done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.timeout(400)
def test_the_session_of_a_cluster_works_as_printed(
    folder: Path, postgres: Postgres, redis: Redis, object_store: ObjectStore
) -> None:
    own = object_store.credentials | {
        "EZSTEMS_DATABASE_URL": postgres.url_of(postgres.new_database()),
        "EZSTEMS_BROKER_URL": redis.new_url(),
        "EZSTEMS_STORAGE_URL": object_store.new_url(),
    }
    session = "\n".join(sessions("scaling"))
    for name, value in own.items():
        session, found = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", session)
        assert found == 1, name
    web = Server(folder / "web", "wsgi:app", model="builtin")  # for its port and its environment
    done = run(f"trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{session}", web, folder)
    for text in ("vocals.wav", "accompaniment.wav", "pong", '"workers":2'):
        assert text in done.stdout, done.stdout
    assert '"status":"ok"' in done.stdout.splitlines()[-1]


def test_the_yaml_of_the_pages_parses() -> None:
    blocks = [block for page in PAGES for block in YAML.findall((DOCS / f"{page}.md").read_text())]
    found = [yaml.safe_load(block) for block in blocks]
    assert any("groups" in one for one in found)
    triggers = [trigger for one in found for trigger in one.get("spec", one).get("triggers", ())]
    assert {trigger["type"] for trigger in triggers} == {"prometheus", "redis", "rabbitmq"}
    queues = {each["metadata"].get("listName", each["metadata"].get("queueName")) for each in triggers}
    assert queues == {None, QUEUE}
    asked = set(re.findall(r"\bezstems_[a-z_]+", "".join(blocks)))
    assert asked == {"ezstems_oldest_wait_seconds", "ezstems_workers"}
    assert all(f'"{name}"' in inspect.getsource(metrics) for name in asked)
