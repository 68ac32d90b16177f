"""A song's exports: the very samples of its stems, in every format, under its name, and nothing left behind."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ezstems.audio import mixing, stem_file
from ezstems.audio.ffmpeg import Child
from ezstems.errors import Interrupted
from ezstems.jobs import Desk, exports
from ezstems.jobs.zip_entry import ZipEntry
from ezstems.models import Job
from ezstems.network import cpu
from tests.support import audio_files
from tests.support.multipart import error_of
from tests.support.separators import SAMPLES
from tests.support.sessions import log_in

STEMS = {2: ("vocals", "accompaniment"), 4: ("vocals", "drums", "bass", "other")}
FULL_SCALE = 32768


@pytest.fixture
def get(session: FlaskClient) -> Callable[..., TestResponse]:
    """Return a caller: the job, what follows its id, then what goes to the client."""

    def call(job: Job, path: str, **options: Any) -> TestResponse:
        return session.get(f"/songs/{job.id}/{path}", headers={"Accept": "application/json"}, **options)

    return call


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], np.ndarray]:
    """Return a reader of a file's samples, full scale 32,768."""

    def samples(content: bytes) -> np.ndarray:
        path = tmp_path / "read"
        path.write_bytes(content)
        return audio_files.read(path).astype(np.float64) * FULL_SCALE

    return samples


def name_of(answer: TestResponse) -> str:
    found = re.search(r'filename="?([^";]+)', answer.headers["Content-Disposition"])
    assert found
    return found[1]


@pytest.fixture
def stems_of(get: Any, read: Any) -> Callable[[Job], dict[str, np.ndarray]]:
    """Return a reader of a job's stems as they are downloaded."""
    return lambda job: {name: read(get(job, f"stems/{name}").data) for name in STEMS[job.stems]}


@pytest.mark.parametrize(
    ("query", "gains", "name"),
    [
        ("", (1, 1, 1, 1), "mix"),
        ("gain.vocals=0.7&gain.drums=0.5&gain.bass=1.5&gain.other=0.33", (0.7, 0.5, 1.5, 0.33), "mix"),
        ("gain.vocals=0", (0, 1, 1, 1), "mix"),
        ("without=drums", (1, 0, 1, 1), "without drums"),
        ("stem=bass&stem=vocals", (1, 0, 1, 0), "vocals + bass"),
        ("stem=other", (0, 0, 0, 1), "other"),
    ],
)
def test_a_mix_is_the_sum_of_its_stems_to_the_sample(
    get: Any, done: Any, read: Any, stems_of: Any, query: str, gains: tuple[float, ...], name: str
) -> None:
    job = done(stems="4")
    stems = stems_of(job)
    wanted = np.clip(np.rint(sum(gain * stem for gain, stem in zip(gains, stems.values(), strict=True))), -32768, 32767)
    for output in ("wav", "flac"):
        answer = get(job, f"export?format={output}&{query}")
        assert answer.status_code == 200, answer.data
        assert np.array_equal(read(answer.data), wanted)
        told = answer.headers.get("Content-Length")
        assert told == (str(len(answer.data)) if output == "wav" else None)
        assert name_of(answer) == f"song - {name}.{output}"
    answer = get(job, f"export?{query}")
    assert len(answer.data) == int(answer.headers["Content-Length"])
    answer = get(job, f"export?format=mp3&{query}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "audio/mpeg")
    assert len(read(answer.data)) >= SAMPLES


def test_tempo_and_key(get: Any, done: Any, read: Any) -> None:
    job = done(stems="2")
    lengths = {"tempo=0.5": 2.0, "tempo=1.5&semitones=-6": 1 / 1.5, "semitones=%2B6": 1, "tempo=1.000&semitones=0": 1}
    names = []
    for query, length in lengths.items():
        for output in ("wav", "flac", "mp3"):
            answer = get(job, f"export?format={output}&{query}")
            assert answer.status_code == 200, answer.data
            if output != "mp3":
                assert len(read(answer.data)) == round(SAMPLES * length)
        names.append(name_of(answer))
    changes = (", tempo 0.5", ", tempo 1.5, key -6", ", key +6", "")
    assert names == [f"song - mix{change}.mp3" for change in changes]


def test_bad_queries_are_told(get: Any, done: Any) -> None:
    job = done()
    for query in (
        *("tempo=NaN", "tempo=1e99", "tempo=0.49", "tempo=1.51", "tempo=", "tempo=-1", "tempo=١", "tempo=1&tempo=1"),
        *("semitones=7", "semitones=-7", "semitones=1.5", "semitones=inf", "semitones=99999999999999999999"),
        *("gain.vocals=NaN", "gain.vocals=1e99", "gain.vocals=1.51", "gain.vocals=-0.1", "gain.piano=1", "gain.=1"),
        *("stem=piano", "stem=", "without=piano", "without=vocals&stem=drums", "without=vocals&gain.drums=1"),
        *("format=exe", "format=", "format=wav32", "unknown=1", "gain.vocals=0&gain.accompaniment=0"),
        *("&".join(f"gain.vocals={number % 2}" for number in range(1000)), "&".join(["stem=vocals"] * 1000)),
        *("&".join(f"gain.{number}=1" for number in range(1000)), "gain.vocals=1,volume=9", "stem=vocals%00"),
    ):
        assert error_of(get(job, f"export?{quote(query, safe='&=%')}"), 400), query


def test_others_songs_are_unknown(get: Any, done: Any, client: FlaskClient, make_account: Any) -> None:
    job = done()
    client.delete_cookie("session")
    assert client.get(f"/songs/{job.id}/export").status_code == 302
    assert log_in(client, make_account("other@example.com").email).status_code == 302
    assert error_of(get(job, "export"), 404)


class Counted(Child):
    """Remember every child."""

    children: list[Child] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.children.append(self)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """Return the children of exports."""
    monkeypatch.setattr(mixing, "Child", Counted)
    monkeypatch.setattr(stem_file, "Child", Counted)
    monkeypatch.setattr(Counted, "children", [])
    return Counted.children


def test_a_client_that_goes_away_leaves_no_child_and_no_place(
    get: Any, done: Any, monkeypatch: pytest.MonkeyPatch, children: list[Child]
) -> None:
    job = done()
    endless = mixing.graph
    monkeypatch.setattr(mixing, "graph", lambda mix, samples, pcm: endless(mix, samples * 100_000, pcm))
    held = [get(job, "export?format=mp3", buffered=False) for _ in range(exports.MOST_OF_ACCOUNT)]
    busy = get(job, "export")
    assert error_of(busy, 500)
    assert int(busy.headers["Retry-After"]) == exports.RETRY_AFTER_SECONDS
    assert all(child.process.poll() is None for child in children)
    if sys.platform == "linux":  # they are no reason for a separation to wait
        assert {os.getpriority(os.PRIO_PROCESS, child.process.pid) for child in children} == {cpu.BEHIND_NICENESS}
    for answer in held:
        assert next(iter(answer.response))
        answer.close()
    assert [child.process.returncode for child in children] == [-9, -9]
    monkeypatch.setattr(mixing, "graph", endless)
    assert get(job, "export").status_code == 200


def test_no_account_takes_all_places(
    app: Flask, get: Any, done: Any, monkeypatch: pytest.MonkeyPatch, client: FlaskClient
) -> None:
    job = done()
    monkeypatch.setattr(exports, "MOST", 0)
    assert "as many exports as it can" in error_of(get(job, "export"), 500)


def test_a_mix_that_fails_midway_never_looks_whole(
    get: Any, done: Any, children: list[Child], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = done()
    graph = mixing.graph
    monkeypatch.setattr(mixing, "graph", lambda mix, samples, pcm: graph(mix, samples * 100_000, pcm))
    answer = get(job, "export?format=mp3", buffered=False)
    blocks = iter(answer.response)
    assert next(blocks)
    children[0].process.kill()
    with pytest.raises(Exception, match="could not be made"):
        list(blocks)
    answer.close()
    assert f"job {job.id}: an export failed: -9" in caplog.text


def test_damaged_stems_begin_no_mix(app: Flask, get: Any, done: Any, instance: Path) -> None:
    job = done()
    (path,) = instance.glob(f"results/{job.id}*.zip")
    content = bytearray(path.read_bytes())
    content[40:80] = bytes(40)  # the first stem's beginning
    path.write_bytes(content)
    assert error_of(get(job, "export"), 500)


def test_a_look_at_the_headers_mixes_nothing(session: FlaskClient, done: Any, children: list[Child]) -> None:
    answer = session.head(f"/songs/{done().id}/export?format=flac")
    assert (answer.status_code, answer.headers["Content-Type"], children) == (200, "audio/flac", [])
    assert "Content-Length" not in answer.headers, "it isn't empty"


def test_a_file_for_djs(get: Any, done: Any, instance: Path, children: list[Child]) -> None:
    for stems in ("4", "5"):
        answer = get(done(stems=stems), "stems.mp4")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "video/mp4")
        assert name_of(answer) == "song - all.stem.mp4"
        assert b"ftyp" in answer.data[:16] and b'"stems"' in answer.data[-2000:]
    assert not list(instance.glob("scratch/*/*"))
    assert [child.process.returncode for child in children] == [0, 0]
    assert "4 stems" in error_of(get(done(stems="2"), "stems.mp4"), 400)


def test_nobody_waits_for_a_file_for_djs(
    get: Any, done: Any, children: list[Child], desk: Desk, app: Flask, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    job = done(stems="4")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(job, "samples", 100_000_000)
        desk.exports.stem_file(job, STEMS[4], lambda: False)
    assert [child.process.returncode for child in children] == [-9]
    gone = SimpleNamespace(has_hung_up=lambda: True, trust=lambda _known: None)
    assert error_of(get(job, "stems.mp4", environ_overrides={"gunicorn.socket": gone}), 400)
    assert caplog.text == "", "no fault of the server's"
    assert get(job, "stems.mp4").status_code == 200


def test_stems_that_lie_elsewhere_are_fetched_for_as_long_as_they_are_needed(
    get: Any, done: Any, instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = done(stems="4")
    plain = get(job, "export?without=bass").data
    monkeypatch.setattr(ZipEntry, "place", lambda _entry: None)  # as in an object store
    assert get(job, "export?without=bass").data == plain
    assert get(job, "stems.mp4").status_code == 200
    assert not list(instance.glob("scratch/*/*"))
