"""Stops, kills and restarts of a real gunicorn: no job is lost, none keeps its place wrongly, none stops the box."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.callers import Caller
from tests.support.servers import Server

STOP_SECONDS = 20.0  # twice what is promised: the machine may be busy
Start = Callable[[int], Caller]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return an instance folder with an account, and its key."""
    instance = tmp_path_factory.mktemp("restarts") / "account"
    return instance, Server(instance).key()


@pytest.fixture(scope="module")
def servers(account: tuple[Path, str]) -> Iterator[dict[int, Server]]:
    """Return servers by their number of workers."""
    with ExitStack() as stack:
        servers = {}
        for workers in (1, 2):
            instance = shutil.copytree(account[0], account[0].with_name(f"workers{workers}"))
            servers[workers] = stack.enter_context(Server(instance, workers=workers))
        yield servers


@pytest.fixture
def start(servers: dict[int, Server], account: tuple[Path, str]) -> Iterator[Start]:
    """Return a starter: a caller of the server with so many workers, which has nothing to do."""

    def start(workers: int) -> Caller:
        if not servers[workers].running:
            servers[workers].start()
        return Caller(servers[workers], account[1])

    yield start
    for server in servers.values():
        server.release()


def eventually(condition: Callable[[], object], server: Server) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, server.log.read_text()[-4000:]
        time.sleep(0.05)


def jobs(server: Server, ids: list[str], columns: str) -> list[dict[str, object]]:
    """Read jobs in the order in which they run."""
    return server.rows(f"SELECT {columns} FROM jobs WHERE id IN ({','.join('?' * len(ids))}) ORDER BY number", *ids)


def test_after_a_kill_of_everything_all_jobs_complete_and_nothing_is_left(start: Start, song: bytes) -> None:
    caller = start(2)
    server = caller.server
    server.hold()
    ids = [caller.upload(song)["id"] for _ in range(6)]
    caller.wait(ids[0], "processing")
    with caller.half_an_upload(song):
        assert server.parts()
        server.kill()
    before = jobs(server, ids, "status, crashes")
    assert len(before) == 6
    assert {row["status"] for row in before} == {"queued", "processing"}
    server.release()

    server.start()

    for job_id in ids:
        caller.wait(job_id)
    after = jobs(server, ids, "status, crashes")
    assert [row["crashes"] for row in after] == [int(row["status"] == "processing") for row in before]
    assert server.parts() == []
    assert server.uploads() == server.kept_uploads() and len(server.uploads()) == 6


def test_after_a_kill_of_one_worker_another_takes_its_place_and_its_jobs(start: Start, song: bytes) -> None:
    caller = start(2)
    server = caller.server
    server.hold()
    ids = [caller.upload(song)["id"] for _ in range(8)]
    caller.wait(ids[0], "processing")
    owner = jobs(server, ids[:1], "owner")[0]["owner"]
    victim = next(pid for pid in server.workers() if holds(pid, server.instance / "workers" / f"{owner}.lock"))

    os.kill(victim, signal.SIGKILL)

    assert requests.get(f"{server.url}/health", timeout=30).status_code == 200
    server.release()
    for job_id in ids:
        caller.wait(job_id)
    eventually(lambda: len(pids := server.workers()) == 2 and victim not in pids, server)
    assert jobs(server, ids[:1], "crashes") == [{"crashes": 1}]
    assert server.parts() == []


def holds(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    return any(entry.resolve() == path for entry in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.parametrize(
    ("end", "busy"),
    [(Server.stop, False), (Server.stop, True), (Server.interrupt, False)],
    ids=["SIGTERM", "SIGTERM, an upload under way", "Ctrl-C"],
)
def test_a_stop_gives_the_running_job_back_to_its_place(
    start: Start, song: bytes, end: Callable[[Server], float], busy: bool
) -> None:
    caller = start(1)
    server = caller.server
    server.hold()
    ids = [caller.upload(song)["id"] for _ in range(4)]
    caller.wait(ids[0], "processing")
    with caller.half_an_upload(song) if busy else nullcontext():
        seconds = end(server)

    assert seconds < STOP_SECONDS
    assert server.process is not None and server.process.returncode == 0
    assert jobs(server, ids, "status, crashes, progress") == [{"status": "queued", "crashes": 0, "progress": 0}] * 4
    server.start()
    caller.wait(ids[0], "processing")
    server.release()
    for job_id in ids:
        caller.wait(job_id)
    log = server.logged(*(f"job {job_id}: completed" for job_id in ids))
    completed = [log.index(f"job {job_id}: completed") for job_id in ids]
    assert completed == sorted(completed)
    assert server.parts() == []


def test_a_stop_does_not_wait_for_a_separation_that_heeds_none(
    account: tuple[Path, str], tmp_path: Path, song: bytes
) -> None:
    with Server(shutil.copytree(account[0], tmp_path / "deaf"), FAST_DEAF="5") as server:
        caller = Caller(server, account[1])
        ids = [caller.upload(song, stems=stems)["id"] for stems in (5, 2)]
        caller.wait(ids[0], "processing")
        eventually((server.instance / "deaf").exists, server)
        assert server.stop() < STOP_SECONDS
        assert jobs(server, ids, "status, crashes") == [{"status": "queued", "crashes": 0}] * 2
        del server.environ["FAST_DEAF"]
        server.start()
        for job_id in ids:
            caller.wait(job_id)
        assert server.parts() == []


def test_a_job_that_kills_its_process_fails_alone_and_can_be_retried(
    account: tuple[Path, str], tmp_path: Path, song: bytes
) -> None:
    server = Server(shutil.copytree(account[0], tmp_path / "deadly"), FAST_KILL="5")
    caller = Caller(server, account[1])
    with server:
        server.hold()
        ids = [caller.upload(song)["id"] for _ in range(2)]
        deadly = caller.upload(song, stems=5)["id"]
        ids += [caller.upload(song)["id"] for _ in range(2)]
        server.release()
        job = caller_outlasts(caller, deadly)
        assert job["status"] == "failed"
        assert "crashed the separator" in job["error"]
        assert caller.get("download.php", id=deadly).status_code == 400
        for job_id in ids:
            caller.wait(job_id)
        assert [row["crashes"] for row in jobs(server, [*ids, deadly], "crashes")] == [0, 0, 1, 0, 0]
        server.stop()

        del server.environ["FAST_KILL"]
        server.start()
        assert deadly in server.command("jobs", "retry", deadly)
        assert caller.wait(deadly)["status"] == "completed"
        assert server.parts() == []


def caller_outlasts(caller: Caller, job_id: str) -> dict[str, Any]:
    """Poll until a job has failed, across the deaths of the process that answers."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            return caller.wait(job_id, "failed")
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError(caller.server.log.read_text()[-4000:])


def test_two_workers_that_start_on_an_empty_folder_take_turns(tmp_path: Path) -> None:
    for number in range(3):
        with Server(tmp_path / f"empty{number}", workers=2) as server:
            eventually(lambda: server.log.read_text().count(": started with the model") == 2, server)  # noqa: B023
            assert requests.get(f"{server.url}/health", timeout=30).json()["status"] == "ok"
            log = server.log.read_text()
            assert "Traceback" not in log and "ERROR" not in log
            assert log.count("Booting worker") == 2
            assert len(list((server.instance / "workers").glob("*.lock"))) == 2


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"threads": "lots"}, "ezstems: EZSTEMS_THREADS='lots' must be a whole number from 2 to 1024"),
        ({"workers": "0"}, "ezstems: EZSTEMS_WORKERS='0' must be a whole number from 1 to 64"),
        ({"model": "deezer"}, "ezstems: EZSTEMS_MODEL='deezer' must be one of auto, official, builtin"),
        ({"model": "official"}, "ezstems: official weights are missing: 2stems"),
        ({"EZSTEMS_INSTANCE": "/dev/null/x"}, "ezstems: the instance folder /dev/null/x must be writable"),
        ({"EZSTEMS_DATABASE_URL": "sqlite:////dev/null/x"}, "ezstems: "),
    ],
    ids=["threads", "workers", "model", "no weights", "no folder", "no database"],
)
def test_a_start_that_makes_no_sense_ends_with_one_clear_line(
    tmp_path: Path, settings: dict[str, Any], line: str
) -> None:
    done = Server(tmp_path / "instance", **{"models": tmp_path / "none"} | settings).refuse()
    assert done.returncode != 0
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_one_worker_takes_over_the_jobs_of_two_in_their_order(
    account: tuple[Path, str], tmp_path: Path, song: bytes
) -> None:
    with Server(shutil.copytree(account[0], tmp_path / "two"), workers=2) as server:
        caller = Caller(server, account[1])
        server.hold()
        ids = []
        for worker in server.workers() * 4:
            with server.only(worker):
                ids.append(caller.upload(song)["id"])
        server.stop()
        server.environ["EZSTEMS_WORKERS"] = "1"
        server.start()
        caller.wait(ids[0], "processing")
        assert [caller.status(job_id)["queue_position"] for job_id in ids] == list(range(8))
        server.release()
        for job_id in ids:
            caller.wait(job_id)
