"""The website's songs on a real gunicorn with two workers: whichever answers, deletions and ranges are right."""

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support.callers import Caller
from tests.support.servers import Server
from tests.support.sessions import enter

EMAIL = "someone@example.com"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("songs") / "instance", workers=2) as server:
        yield server


@pytest.fixture(scope="module")
def caller(server: Server) -> Caller:
    return Caller(server, server.key(EMAIL))


@pytest.fixture
def session(server: Server, caller: Caller) -> Iterator[requests.Session]:
    """Return a session on the website, logged in, its token among its headers."""
    with enter(server.url, EMAIL) as session:
        yield session
        server.release()


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def files(server: Server) -> list[str]:
    return sorted(p.name for folder in ("uploads", "results") for p in Path(server.instance / folder).iterdir())


def test_songs_are_deleted_whichever_worker_is_asked(
    server: Server, caller: Caller, session: requests.Session, song: bytes
) -> None:
    server.hold()
    ids = [caller.upload(song)["id"] for _ in range(12)]
    owners = {row["id"]: row["owner"] for row in server.rows("SELECT id, owner FROM jobs")}
    running = "SELECT id FROM jobs WHERE status = 'processing'"
    eventually(lambda: len(server.rows(running)) == len(set(owners.values())), "one runs in each worker that has any")
    first = [row["id"] for row in server.rows(running)]
    deleted = [*first, *ids[1::2]]
    for job_id in dict.fromkeys(deleted):
        answer = session.post(f"{server.url}/songs/{job_id}/delete", headers=JSON, timeout=60)
        assert answer.json() == {"success": True, "message": "The song was deleted."}, answer.text
    left = [job_id for job_id in ids if job_id not in deleted]

    def right() -> bool:
        states = session.get(f"{server.url}/songs/states", timeout=60).json()["data"]
        assert [state["id"] for state in reversed(states)] == left
        lines = ([s["queue_position"] for s in reversed(states) if owners[s["id"]] == o] for o in set(owners.values()))
        return all(line in (list(range(len(line))), list(range(1, len(line) + 1))) for line in lines)

    # Each worker hears within seconds of what the other one deleted from its queue; then every answer is right.
    eventually(lambda: all(right() for _ in range(8)), "the places close up")
    server.release()
    for job_id in left:
        caller.wait(job_id)
    results = [f"{job_id}.{kind}" for job_id in left for kind in ("zip", "peaks")]
    eventually(lambda: files(server) == sorted(results + server.kept_uploads()), "nothing of the others is left")
    rows = server.rows("SELECT id FROM jobs WHERE status = 'failed' AND expired_at IS NOT NULL")
    assert sorted(row["id"] for row in rows) == sorted(set(deleted))
    log = server.logged(*(f"job {job_id}: stopped, deleted while it ran" for job_id in first))
    assert "Traceback" not in log


def test_ranges_of_a_stem(server: Server, caller: Caller, session: requests.Session, song: bytes) -> None:
    job_id = caller.upload(song, stems=5)["id"]
    caller.wait(job_id)
    with zipfile.ZipFile(server.instance / "results" / f"{job_id}.zip") as archive:
        whole = archive.read("piano.wav")
    url = f"{server.url}/songs/{job_id}/stems/piano"
    assert session.get(url, timeout=60).content == whole
    for asked, (start, end) in {"0-9": (0, 10), "100-": (100, None), "-7": (-7, None)}.items():
        answer = session.get(url, headers={"Range": f"bytes={asked}"}, timeout=60)
        assert (answer.status_code, answer.content) == (206, whole[start:end])
    assert session.get(url, headers={"Range": "bytes=99999-"} | JSON, timeout=60).status_code == 416
    head = session.head(url, timeout=60)
    assert (int(head.headers["Content-Length"]), head.headers["Content-Type"]) == (len(whole), "audio/wav")
    assert session.get(url, headers={"If-None-Match": head.headers["ETag"]}, timeout=60).status_code == 304
    assert requests.get(url, allow_redirects=False, timeout=60).status_code == 302
    lines = [f"GET '/songs/{job_id}/stems/piano' {status} " for status in (200, 206, 416, 304, 302)]
    server.logged(*lines)
    zipped = session.get(f"{server.url}/songs/{job_id}/zip", timeout=60)
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as mine:
        plain = caller.get("download.php", id=job_id).content
        with zipfile.ZipFile(io.BytesIO(plain)) as theirs:
            assert [entry.CRC for entry in mine.infolist()] == [entry.CRC for entry in theirs.infolist()]
    server.logged(f"GET '/songs/{job_id}/zip' 200 ", "GET '/api/v1/download.php' 200 ")
