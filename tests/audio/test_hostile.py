"""Thousands of hostile files: each is refused, fails with a sentence, or completes; nothing hangs, nothing is left.

HOSTILE_SEED and HOSTILE_COUNT in the environment choose other mutants; every failure names its own.
"""

import io
import os
import random
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
import requests

from ezstems.audio.decode import check, decode
from ezstems.audio.kinds import API_EXTENSIONS, UPLOAD_EXTENSIONS
from ezstems.audio.length import refuse_longer
from ezstems.errors import UnreadableAudio
from tests.support.callers import Caller
from tests.support.mutants import Mutant, honest, mutants
from tests.support.servers import Server

SEED = int(os.environ.get("HOSTILE_SEED", "1"))
COUNT = int(os.environ.get("HOSTILE_COUNT", "2600"))
OVER_HTTP = 72
LONGEST_SECONDS = 60
KINDS = "|".join(UPLOAD_EXTENSIONS)
SENTENCES = re.compile(
    rf"The file('s content is not ({KINDS.upper()}) audio, as its extension \.({KINDS}) says"
    rf"| is empty; it must hold audio| holds no sound: there must be a sound track in it"
    rf"| holds no decodable (({KINDS.upper()}) |)audio(\. Its first sound track must be [^.]+)?"
    r"| is longer than \d+ seconds, the most that is separated"
    r"| could not be decoded: (the decoder made no progress|it takes the decoder too much time or memory))\."
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Mutant]:
    return list(mutants(honest(tmp_path_factory.mktemp("honest") / "files"), COUNT, SEED))


def outcome(path: Path) -> str:
    """Do with a file what an upload and its job do; only the sentences for an uploader are caught."""
    try:
        check(path, path.suffix)
    except UnreadableAudio as error:
        assert SENTENCES.fullmatch(str(error)), error
        return "refused"
    try:
        refuse_longer(path, LONGEST_SECONDS)
        with decode(path, block_samples=100_000, longest_seconds=LONGEST_SECONDS) as decoding:
            for block in decoding:
                assert block.shape[1] == 2 and abs(block).max() <= 65_536
            return f"completed, of {decoding.samples // 44_100 // 10}0 s and more"
    except UnreadableAudio as error:
        assert SENTENCES.fullmatch(str(error)), error
        return "failed"


def children(pid: int | str = "self") -> list[str]:
    """Return the processes that a process has started and not yet seen ending."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile has none
            found += (task / "children").read_text().split()
    return found


def test_every_mutant_is_refused_or_fails_or_completes(hostile: list[Mutant], tmp_path: Path) -> None:
    before, threads = children(), set(threading.enumerate())

    def treat(mutant: Mutant) -> tuple[str, str, float]:
        path, started = tmp_path / mutant.name, monotonic()
        path.write_bytes(mutant.content)
        try:
            result = outcome(path)
        except Exception as error:
            raise AssertionError(f"HOSTILE_SEED={SEED}: {mutant.name}") from error
        path.unlink()
        return mutant.kind, result, monotonic() - started

    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        results = list(pool.map(treat, hostile))
    assert len(results) == COUNT
    assert list(tmp_path.iterdir()) == [] and set(children()) <= set(before) and set(threading.enumerate()) <= threads
    for kind in sorted({kind for kind, _, _ in results}):
        seconds = sorted(taken for found, _, taken in results if found == kind)
        counts = Counter(result for found, result, _ in results if found == kind)
        median, most = seconds[len(seconds) // 2], seconds[-1]
        print(f"{kind}: {len(seconds)}, median {median:.2f} s, most {most:.2f} s, {dict(counts)}")
    if COUNT >= 1000:  # it is the mutants' business to reach every end
        assert {result.split(",")[0] for _, result, _ in results} == {"refused", "failed", "completed"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hostile") / "instance"
    with Server(folder, app="tests.support.decoding_wsgi:app", max_duration_seconds=LONGEST_SECONDS) as server:
        yield server


def test_mutants_over_http(server: Server, hostile: list[Mutant]) -> None:
    caller, ends = Caller(server, server.key(plan="custom", max_mb=300)), Counter[str]()
    taken = [mutant for mutant in hostile if mutant.name.endswith(API_EXTENSIONS) and mutant.content]
    chosen = random.Random(SEED).sample(taken, min(OVER_HTTP, len(taken)))
    for mutant in chosen:
        answer = requests.post(
            f"{server.api}/upload.php",
            files={"file": (mutant.name, mutant.content)},
            data={"stems": "2"},
            headers=caller.headers,
            timeout=120,
        )
        if answer.status_code == 400:
            assert answer.json()["error"] == "Invalid audio file", (mutant.name, answer.text)
            assert SENTENCES.fullmatch(answer.json()["message"]), (mutant.name, answer.text)
            ends["refused"] += 1
            continue
        assert answer.status_code == 200, (mutant.name, answer.text)
        job_id = answer.json()["data"]["id"]
        job = caller.wait(job_id, "completed", "failed", seconds=120)
        zipped = caller.get("download.php", id=job_id)
        ends[job["status"]] += 1
        if job["status"] == "failed":
            assert SENTENCES.fullmatch(job["error"]), (mutant.name, job)
            assert zipped.status_code == 400 and zipped.json()["message"].endswith(job["error"]), mutant.name
        else:
            assert zipped.status_code == 200
            assert zipfile.ZipFile(io.BytesIO(zipped.content)).testzip() is None
    assert sum(ends.values()) == len(chosen) and ends["refused"] and ends["completed"], ends
    print(dict(ends))
    assert server.parts() == []
    assert set(server.kept_uploads()) <= set(server.uploads()) and len(server.kept_uploads()) == ends["completed"]
    assert len(server.uploads()) <= ends["failed"] + ends["completed"]
    assert len(list((server.instance / "results").glob("*.zip"))) == ends["completed"]
    deadline = monotonic() + 60
    while any(children(worker) for worker in server.workers()):
        assert monotonic() < deadline, "an ffmpeg is left"
        sleep(0.05)
    assert "Traceback" not in server.log.read_text()
