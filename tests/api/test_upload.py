"""`upload.php`: the answer, the ids, the parameters, the file's name."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ezstems.models import Job
from tests.conftest import Account
from tests.support.multipart import (
    Upload,
    assert_nothing_left,
    body,
    error_of,
    field,
    file_part,
    job_of,
    part,
    post,
    upload_of,
    uploads,
)
from tests.support.separators import FastSeparator

SECOND = 1_699_567_234


@pytest.fixture
def account(make_account: Callable[..., Account]) -> Account:
    return make_account(rate_limit=1000)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests of form and parameters the decoder."""
    monkeypatch.setattr("ezstems.audio.decode.check", lambda path, extension: None)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock that ids are made from."""
    clock = SimpleNamespace(time=lambda: SECOND + 0.9, monotonic=time.monotonic)
    monkeypatch.setattr("ezstems.jobs.admission.time", clock)


def test_the_answer_is_exact(upload: Upload) -> None:
    before = int(time.time())
    answer = upload(stems="4")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json) == ["success", "data"]
    assert answer.json["success"] is True
    data = answer.json["data"]
    assert list(data) == ["id", "filename", "status", "stems", "check_status_endpoint"]
    second, stems = re.fullmatch(r"(\d{10})_(\d)", data["id"]).groups()
    assert before <= int(second) <= time.time()
    assert stems == "4"
    assert re.fullmatch(rf"{data['id']}_\d{{5}}\.wav", data["filename"])
    assert data["status"] == "queued"
    assert data["stems"] == "4" and isinstance(data["stems"], str)
    assert data["check_status_endpoint"] == f"/api/v1/status.php?id={data['id']}"
    assert list(json.loads(answer.text)["data"]) == list(data)


def test_the_file_and_the_row_are_there_before_the_answer(
    app: Flask, upload: Upload, separator: FastSeparator, song: bytes
) -> None:
    separator.hold()
    # What looks like the beginning of a boundary, across every block's end, is content.
    content = song + b"\r\n--EzStems\r\n--\r\n\n\r--" * 40_000
    job = job_of(app, upload(content=content, name="My Song.wav", stems="5"))
    assert uploads(app) == [job.filename]
    assert upload_of(app, job) == content
    assert (job.stems, job.cutoff, job.output) == (5, "full", "wav")
    assert (job.original_name, job.size_bytes) == ("My Song.wav", len(content))


def test_five_digits_keep_their_zeros(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezstems.jobs.admission.secrets.randbelow", lambda below: {100_000: 7}[below])
    data = upload().json["data"]
    assert data["filename"] == f"{data['id']}_00007.wav"


@pytest.mark.usefixtures("unchecked", "frozen")
def test_fifty_uploads_in_one_second_get_fifty_ids(upload: Upload) -> None:
    answers = [upload() for _ in range(50)]
    assert [answer.json["data"]["id"] for answer in answers] == [f"{SECOND + n}_2" for n in range(50)]
    digits = Counter(answer.json["data"]["filename"].split("_")[2] for answer in answers)
    assert len(digits) > 40


@pytest.mark.usefixtures("unchecked", "frozen")
def test_numbers_of_stems_share_a_second(upload: Upload) -> None:
    ids = [upload(stems=stems).json["data"]["id"] for stems in ("2", "4", "5", "4")]
    assert ids == [f"{SECOND}_2", f"{SECOND}_4", f"{SECOND}_5", f"{SECOND + 1}_4"]


@pytest.mark.usefixtures("unchecked", "frozen")
def test_uploads_at_the_same_time_get_distinct_ids(app: Flask, account: Account, song: bytes) -> None:
    content = body(file_part(song), field("stems", "2"))

    def send(_: int) -> str:
        answer = post(app.test_client(), account.headers, content)
        assert answer.status_code == 200, answer.text
        return answer.json["data"]["id"]

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(send, range(24)))
    assert ids == {f"{SECOND + n}_2" for n in range(24)}


@pytest.mark.usefixtures("unchecked")
def test_spellings_of_the_parameters(app: Flask, upload: Upload) -> None:
    cutoffs = {"11kHz": "11kHz", "11KHZ": "11kHz", "11": "11kHz", "11000": "11kHz", " 11khz\n": "11kHz"}
    cutoffs |= {"16kHz": "16kHz", "16khz": "16kHz", "16": "16kHz", "16000": "16kHz", "full": "full", "FULL ": "full"}
    for given, meant in cutoffs.items():
        assert job_of(app, upload(cutoff=given)).cutoff == meant, given
    for given in ("wav", "WAV32", "wav32\n", "MP3", "flac", " m4a ", "Ogg"):
        assert job_of(app, upload(output=given)).output == given.strip().lower()
    for given in (" 4 ", "4\n", "\t4", "4"):
        answer = upload(stems=given)
        assert answer.json["data"]["stems"] == "4", given
        assert job_of(app, answer).stems == 4


@pytest.mark.usefixtures("unchecked")
def test_an_optional_parameter_that_is_blank_is_as_good_as_missing(
    make_app: Callable[..., Flask], account: Account, song: bytes
) -> None:
    for cutoff in ("full", "16kHz"):
        app = make_app(cutoff=cutoff)
        for blank in ("", " ", "\t\r\n "):
            for fields in ([], ["cutoff"], ["output"], ["output", "cutoff"]):
                parts = [file_part(song), field("stems", "2"), *(field(name, blank) for name in fields)]
                job = job_of(app, post(app.test_client(), account.headers, body(*parts)))
                assert (job.cutoff, job.output) == (cutoff, "wav"), (blank, fields)
        last = [field("cutoff", "11"), field("cutoff", ""), field("output", "mp3"), field("output", " ")]
        job = job_of(app, post(app.test_client(), account.headers, body(file_part(song), field("stems", "2"), *last)))
        assert (job.cutoff, job.output) == (cutoff, "wav"), "the last value counts, and it is none"


def test_junk_in_a_parameter_is_a_400_that_echoes_it(
    app: Flask, client: FlaskClient, account: Account, song: bytes
) -> None:
    junk = ["3", "two", "", "1e1", "4.0", "４", "4\0", "0", "-2", "+2", "02", "2 4", "2,4", "true", "6" * 4000]  # noqa: RUF001
    cases = [("stems", value) for value in junk]
    cases += [("cutoff", "11\N{KELVIN SIGN}Hz")]
    cases += [("cutoff", value) for value in ("12kHz", "11 kHz", "11.0", "16000Hz", "none", "f" * 4000)]
    cases += [("output", value) for value in (".mp3", "aac", "wave", "wav 32", "wav16", "mp3 wav", "audio/mpeg")]
    for name, value in cases:
        fields = [field("stems", "2")] * (name != "stems") + [field(name, value)]
        message = error_of(post(client, account.headers, body(file_part(song), *fields)))
        assert message.startswith(f"{name}={value[:64]!r} must be"), (name, value, message)
        assert_nothing_left(app, (name, value))
    assert error_of(post(client, account.headers, body(file_part(song)))) == "stems='' must be 2, 4 or 5."
    assert error_of(post(client, account.headers, body(file_part(song), field("stems[]", "2"))))
    assert error_of(post(client, account.headers, body(file_part(song), field("STEMS", "2"))))
    assert_nothing_left(app)


def test_a_field_that_is_too_long_is_refused(app: Flask, client: FlaskClient, account: Account, song: bytes) -> None:
    for size in (4097, 700_000):
        message = error_of(post(client, account.headers, body(file_part(song), field("stems", "2" * size))))
        assert "'stems'" in message and "4096" in message
        assert_nothing_left(app)


@pytest.mark.usefixtures("unchecked")
def test_the_last_value_of_a_repeated_parameter_wins(
    app: Flask, client: FlaskClient, account: Account, song: bytes
) -> None:
    fields = [field("stems", "3"), field("output", "exe"), field("output", "mp3"), field("stems", "5")]
    job = job_of(app, post(client, account.headers, body(*fields[:2], file_part(song), *fields[2:])))
    assert (job.stems, job.output) == (5, "mp3")
    for last in ("3", ""):
        error_of(post(client, account.headers, body(file_part(song), field("stems", "2"), field("stems", last))))


def test_the_last_of_several_files_wins_and_the_others_leave_nothing(
    app: Flask, client: FlaskClient, account: Account, song: bytes, separator: FastSeparator
) -> None:
    separator.hold()
    parts = [file_part(b"not audio" * 99, "first.mp3"), field("stems", "2"), file_part(song, "last.wav")]
    job = job_of(app, post(client, account.headers, body(*parts)))
    assert (job.original_name, job.size_bytes) == ("last.wav", len(song))
    assert uploads(app) == [job.filename]
    error_of(post(client, account.headers, body(*reversed(parts))))
    assert uploads(app) == [job.filename]


@pytest.mark.usefixtures("unchecked")
def test_unknown_parts_are_ignored(
    app: Flask, client: FlaskClient, account: Account, song: bytes, separator: FastSeparator
) -> None:
    separator.hold()
    parts = [
        field("id", "1_2"),
        field("stems[0]", "3"),
        file_part(b"\x89PNG" + bytes(3_000_000), "cover.png", name="cover"),
        file_part(song, "other.wav", name="File"),
        part("filename=nameless.wav", b"x"),
        part("size=1", b"y"),
        file_part(song),
        field("priority", "high" * 500),
        field("stems", "4"),
        file_part(b"", "", name="file2"),
    ]
    job = job_of(app, post(client, account.headers, body(*parts)))
    assert (job.original_name, job.stems, job.size_bytes) == ("song.wav", 4, len(song))
    assert uploads(app) == [job.filename]


@pytest.mark.usefixtures("unchecked")
def test_names_that_end_in_an_extension(app: Flask, client: FlaskClient, account: Account, song: bytes) -> None:
    names = {
        "SONG.MP3": "SONG.MP3",
        "a.b.M4a": "a.b.M4a",
        "C:\\\\x\\\\song.MP3": "song.MP3",
        "../../etc/x.wav": "x.wav",
        "/abs/olute.wav": "olute.wav",
        "..\\\\..\\\\y.wav": "y.wav",
        "Große Fuge ♫ 音楽.wav": "Große Fuge ♫ 音楽.wav",
        "say \\\"hi\\\".mp3": 'say "hi".mp3',
        " padded.wav ": "padded.wav",
        "bell\a and \u202ereversed.wav": "bell and reversed.wav",
        "x" * 400 + ".wav": "x" * 251 + ".wav",
    }  # fmt: skip
    for sent, kept in names.items():
        answer = post(client, account.headers, body(file_part(song, sent), field("stems", "2")))
        job: Job = job_of(app, answer)
        assert job.original_name == kept, sent
        extension = kept.rpartition(".")[2].lower()
        assert re.fullmatch(rf"{job.id}_\d{{5}}\.{extension}", job.filename), sent
        assert answer.json["data"]["filename"] == job.filename
    encoded = part("name=file; filename*=UTF-8''%E9%9F%B3%2e.wav", song)
    answer = post(client, account.headers, body(encoded, field("stems", "2")))
    assert job_of(app, answer).original_name == "音..wav"


def test_names_that_do_not(app: Flask, client: FlaskClient, account: Account, song: bytes) -> None:
    names = ("song", ".mp3", "dir.mp3/song", "dir.wav/", "song.mp3.exe", "song.wav.", "song.ogg", "mp3", "a.mp3\u200b4")
    for name in names:
        message = error_of(post(client, account.headers, body(file_part(song, name), field("stems", "2"))))
        assert "must end in .mp3, .wav or .m4a" in message, name
        assert repr(name.split("/")[-1].replace("\u200b", "")) in message, name
        assert_nothing_left(app, name)
