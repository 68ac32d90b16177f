"""The command line: accounts, keys, jobs, the demo account, and separation without a server."""

import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select
from sqlalchemy.engine import Engine
from werkzeug.security import check_password_hash
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.jobs.desk import Desk
from ezstems.models import ApiKey, Job, User, utcnow
from tests.conftest import Account
from tests.support import checkpoints
from tests.support.audio_files import ffmpeg, read, song, write_wav
from tests.support.separators import FastSeparator
from tests.support.sessions import log_in

Run = Callable[..., Result]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def job_of(user_id: int, number: int) -> Job:
    job_id = f"{1_700_000_000 + number}_2"
    return Job(
        id=job_id,
        second=1_700_000_000 + number,
        stems=2,
        user_id=user_id,
        cutoff="11kHz",
        output="wav",
        original_name="song.wav",
        filename=f"{job_id}_00000.wav",
        size_bytes=1,
        status="completed",
    )


def test_an_empty_folder_is_a_valid_instance(run: Run, instance: Path) -> None:
    run("users", "add", "a@example.com", "--password", "a password")
    assert run("users", "list").output.split("  ")[:2] == ["ID", "EMAIL"]
    assert (instance / "ezstems.sqlite3").exists()
    assert oct((instance / "secret_key").stat().st_mode & 0o777) == "0o600"


def test_accounts(run: Run, app: Flask) -> None:
    assert run("users", "add", "Anna@Example.com", "--plan", "pro", "--password", "pw").output == (
        "anna@example.com: plan pro, files up to 75 MB\n"
    )
    run("users", "add", "bob@localhost", "--plan", "custom", "--max-mb", "120", "--password", "pw")
    assert "exists already" in run("users", "add", "anna@example.com", "--password", "pw", code=1).output
    run("users", "set-plan", "bob@localhost", code=2)
    run("users", "set-plan", "bob@localhost", "--plan", "basic")
    rows = [line.split() for line in run("users", "list").output.splitlines()[1:]]
    assert [row[1:5] for row in rows] == [["anna@example.com", "pro", "75", "0"], ["bob@localhost", "basic", "30", "0"]]
    with app.app_context():
        user = db.session.scalars(select(User).where(User.email == "anna@example.com")).one()
        assert check_password_hash(user.password_hash, "pw") and not check_password_hash(user.password_hash, "PW")
        assert "pw" not in user.password_hash.split("$")


def test_a_password_is_asked_for_and_not_shown(run: Run, app: Flask) -> None:
    output = run("users", "add", "anna@example.com", typed="hidden one\nhidden one\n").output
    assert "Password" in output and "hidden one" not in output
    with app.app_context():
        assert check_password_hash(db.session.scalars(select(User)).one().password_hash, "hidden one")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("anna", "--password", "pw"), "'anna' must be an e-mail address"),
        (("a b@example.com", "--password", "pw"), "must be an e-mail address"),
        (("anna@example.com", "--password", ""), "must not be empty"),
        (("anna@example.com", "--plan", "custom", "--password", "pw"), "custom plan needs a size"),
        (("anna@example.com", "--plan", "pro", "--max-mb", "5", "--password", "pw"), "no other takes one"),
    ],
)
def test_an_account_that_makes_no_sense_is_refused(run: Run, arguments: tuple[str, ...], told: str) -> None:
    assert told in run("users", "add", *arguments, code=1).output
    assert len(run("users", "list").output.splitlines()) == 1


@pytest.mark.parametrize("options", [("--plan", "gold"), ("--plan", "custom", "--max-mb", "301")])
def test_an_unknown_plan_or_size_is_refused(run: Run, options: tuple[str, ...]) -> None:
    run("users", "add", "anna@example.com", "--password", "pw", *options, code=2)


def test_keys(run: Run, client: FlaskClient) -> None:
    run("users", "add", "anna@example.com", "--password", "pw")
    key = run("keys", "add", "anna@example.com", "--rate-limit", "2").stdout
    assert re.fullmatch(r"[0-9a-f]{64}\n", key)
    headers = {"Authorization": f"Bearer {key.strip()}"}
    listed = run("keys", "list").output
    assert f"********{key.strip()[-8:]}" in listed and key.strip() not in listed
    assert client.get("/api/v1/keys.php", headers=headers).json["data"][0]["rate_limit"] == 2
    assert run("keys", "revoke", "1").output == "key 1 of anna@example.com is deactivated\n"
    assert client.get("/api/v1/keys.php", headers=headers).status_code == 401
    assert "there is no key 7" in run("keys", "revoke", "7", code=1).output
    assert "there is no account 'eve@example.com'" in run("keys", "add", "eve@example.com", code=1).output


def test_jobs(
    run: Run,
    app: Flask,
    separator: FastSeparator,
    upload: Callable[..., TestResponse],
    finished: Callable[[str], Job],
    desk: Desk,
    no_housekeeping: None,
) -> None:
    separator.error = ValueError()
    job_id = upload(name="my song.wav").json["data"]["id"]
    finished(job_id)
    assert re.search(rf"{job_id} +someone@example.com +failed .* my song.wav", run("jobs", "list").output)
    assert job_id not in run("jobs", "list", "--status", "completed").output
    shown = run("jobs", "show", job_id).output
    assert re.search(r"^error +The separation failed on the server", shown, re.MULTILINE)
    assert re.search(r"^email +someone@example.com$", shown, re.MULTILINE)
    separator.error = None
    assert run("jobs", "retry", job_id).output == f"job {job_id} is queued again\n"
    desk.dispatch._sync_queue()
    assert finished(job_id).status == "completed"
    assert "is completed; only a job that failed by the server" in run("jobs", "retry", job_id, code=1).output
    assert "there is no job 1_2" in run("jobs", "show", "1_2", code=1).output
    assert run("jobs", "prune").output == "0 jobs expired\n"
    with app.app_context():
        db.session.scalars(select(Job)).one().finished_at = utcnow() - timedelta(hours=100)
        db.session.commit()
    assert run("jobs", "prune").output == "1 jobs expired\n"
    assert "completed, expired" in run("jobs", "list").output


def test_what_failed_by_its_file_is_gone_and_not_retried(
    run: Run,
    instance: Path,
    separator: FastSeparator,
    upload: Callable[..., TestResponse],
    finished: Callable[[str], Job],
) -> None:
    separator.error = UnreadableAudio("The file is longer than 5 seconds.")
    job_id = upload().json["data"]["id"]
    assert finished(job_id).status == "failed"
    wait_for(lambda: list((instance / "uploads").iterdir()) == [])
    assert f"job {job_id} is failed; only a job" in run("jobs", "retry", job_id, code=1).output
    assert finished(job_id).error == "The file is longer than 5 seconds."


def test_jobs_are_listed_page_by_page(
    run: Run, make_account: Callable[..., Account], done: Callable[..., Job], account: Account
) -> None:
    ids = [done().id for _ in range(3)]
    other = make_account("other@example.com")
    ids.append(done(who=other).id)

    def listed(*options: str) -> list[str]:
        return [line.split()[0] for line in run("jobs", "list", *options).output.splitlines()[1:]]

    assert listed() == ids[::-1]
    assert listed("--limit", "2") == [ids[3], ids[2]]
    assert listed("--limit", "2", "--before", ids[2]) == [ids[1], ids[0]]
    assert listed("--account", "Other@example.com") == [ids[3]]
    assert listed("--account", account.email, "--status", "completed", "--limit", "1") == [ids[2]]
    assert "there is no account" in run("jobs", "list", "--account", "eve@example.com", code=1).output
    assert "there is no job 1_2" in run("jobs", "list", "--before", "1_2", code=1).output


def test_a_page_of_jobs_is_one_query(run: Run, app: Flask, account: Account) -> None:
    statements: list[str] = []
    with app.app_context():
        for number in range(1, 401):
            user = User(email=f"user{number}@example.com", plan="basic", password_hash="")
            db.session.add(user)
            db.session.flush()
            db.session.add(job_of(user.id, number))
        db.session.commit()

    @event.listens_for(Engine, "before_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if threading.current_thread() is threading.main_thread():  # others may be of another test's app
            statements.append(statement)

    try:
        assert len(run("jobs", "list", "--limit", "300").output.splitlines()) == 301
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert sum("FROM jobs" in statement for statement in statements) == 1
    assert not [statement for statement in statements if re.search(r"FROM users\s+WHERE", statement)]


def test_jobs_are_deleted_in_whatever_state(
    run: Run,
    instance: Path,
    separator: FastSeparator,
    upload: Callable[..., TestResponse],
    done: Callable[..., Job],
    client: FlaskClient,
    account: Account,
) -> None:
    completed = done().id
    separator.hold()
    separator.started.clear()
    running, queued = (upload().json["data"]["id"] for _ in range(2))
    assert separator.started.wait(60)
    told = run("jobs", "delete", completed, queued, running).output
    assert told == "".join(f"job {job_id} is deleted\n" for job_id in (completed, queued, running))
    wait_for(lambda: not [path for name in ("uploads", "results") for path in (instance / name).iterdir()])
    for job_id in (completed, queued, running):
        assert client.get(f"/api/v1/status.php?id={job_id}", headers=account.headers).status_code == 404
    assert "deleted before" in run("jobs", "delete", completed, code=1).output
    assert "there is no job 1_2" in run("jobs", "delete", "1_2", code=1).output
    run("jobs", "delete", code=2)
    separator.release()
    assert done().status == "completed"


def test_an_account_is_deleted_with_all_that_is_its_own(
    run: Run,
    app: Flask,
    instance: Path,
    separator: FastSeparator,
    upload: Callable[..., TestResponse],
    done: Callable[..., Job],
    client: FlaskClient,
    account: Account,
    make_account: Callable[..., Account],
) -> None:
    other = make_account("other@example.com")
    kept = done(who=other)
    done()
    log_in(client, account.email)
    assert client.get("/account").status_code == 200
    separator.hold()
    separator.started.clear()
    for _ in range(2):
        upload()
    assert separator.started.wait(60)
    assert re.search(rf"{account.email} +basic +30 +1 +2 ", run("users", "list").output)
    assert "Aborted" in run("users", "delete", account.email, typed="n\n", code=1).output
    assert upload().status_code == 200
    assert run("users", "delete", account.email, "--yes").output == f"{account.email}: deleted, with 4 jobs\n"
    assert upload().status_code == 401
    assert client.get("/account").status_code == 302
    left = {f"{kept.id}.zip", f"{kept.id}.peaks", kept.filename}
    # What ran stopped by itself: nothing was released.
    wait_for(lambda: {path.name for name in ("uploads", "results") for path in (instance / name).iterdir()} == left)
    separator.release()
    with app.app_context():
        assert db.session.scalars(select(User.email)).all() == [other.email]
        assert db.session.scalars(select(Job.id)).all() == [kept.id]
        assert len(db.session.scalars(select(ApiKey)).all()) == 1
    assert "there is no account" in run("users", "delete", account.email, "--yes", code=1).output
    assert done(who=other).status == "completed"


def test_an_account_that_goes_while_it_uploads(
    run: Run, account: Account, upload: Callable[..., TestResponse], instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ezstems.audio.decode.check", lambda path, extension: run("users", "delete", account.email, "--yes")
    )
    answer = upload()
    assert (answer.status_code, answer.json["message"]) == (401, "The account was deleted.")
    assert list((instance / "uploads").iterdir()) == []


def test_the_demo_account_is_made_once(run: Run, client: FlaskClient, app: Flask) -> None:
    output = run("demo").output
    key = re.search(r"Bearer ([0-9a-f]{64})", output)
    assert key is not None
    assert client.get("/api/v1/keys.php", headers={"Authorization": f"Bearer {key[1]}"}).status_code == 200
    assert run("demo").output == ""
    with app.app_context():
        assert len(db.session.scalars(select(ApiKey)).all()) == 1


def test_files_that_would_write_to_one_folder_are_refused(run: Run, tmp_path: Path) -> None:
    files = [str(write_wav(tmp_path / name, song(1000))) for name in ("a.wav", "b.wav")]
    other = tmp_path / "other"
    other.mkdir()
    files.append(str(write_wav(other / "a.wav", song(1000))))
    target = tmp_path / "out"
    assert "a: several files" in run("separate", *files, "--directory", str(target), code=1).output
    assert not target.exists()


@pytest.mark.slow
def test_separation_without_a_server(run: Run, instance: Path, tmp_path: Path) -> None:
    checkpoints.make(instance / "models", 2, [2, 2, 2, 2, 2, 2])
    audio = song(50_001)
    good = write_wav(tmp_path / "good one.wav", audio)
    film = tmp_path / "film.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5", "-i", good, "-c:v", "mpeg4", "-c:a", "flac", film)
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"no audio at all")
    target = tmp_path / "out"
    options = ("--stems", "2", "--output", "flac", "--directory", str(target))
    result = run("separate", str(bad), str(good), str(film), *options, code=1)
    assert f"{bad}: The file's content is not MP3 audio, as its extension .mp3 says.\n" in result.stderr
    assert "Traceback" not in result.output
    assert "official 2stems" in result.stderr
    made = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    names = ("vocals.flac", "accompaniment.flac")
    assert made == {f"{folder}/{name}" for folder in ("good one", "film") for name in names}
    assert sorted(path.name for path in target.iterdir()) == ["film", "good one"]
    assert len(read(target / "film" / "vocals.flac")) == 50_001
    stems = [read(target / "good one" / f"{name}.flac") for name in ("vocals", "accompaniment")]
    assert [len(stem) for stem in stems] == [50_001, 50_001]
    # With `full`, the default, the stems add up to the mix, but for the rounding to 16 bits of each.
    assert np.abs(sum(stems) - audio).max() < 3 / 32768


@pytest.mark.slow
def test_the_cutoff_is_the_settings_unless_said_otherwise(
    run: Run, instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.make(instance / "models", 2, [2, 2, 2, 2, 2, 2])
    source = write_wav(tmp_path / "noise.wav", np.random.default_rng(0).uniform(-0.3, 0.3, (60_000, 2)))

    def treble(cutoff: str | None, *options: str) -> float:
        """Return how much is left between 11.5 and 15.5 kHz, as a share of the song's."""
        if cutoff:
            monkeypatch.setenv("EZSTEMS_CUTOFF", cutoff)
        run("separate", str(source), "--directory", str(tmp_path / "out"), *options)
        stems = [read(tmp_path / "out" / "noise" / f"{name}.wav") for name in ("vocals", "accompaniment")]
        band = slice(int(60_000 * 11.5 / 44.1), int(60_000 * 15.5 / 44.1))
        levels = [np.abs(np.fft.rfft(audio[:60_000, 0])[band]).mean() for audio in (sum(stems), read(source))]
        return levels[0] / levels[1]

    assert treble(None) > 0.99
    assert treble(None, "--cutoff", "11KHZ") < 0.01
    assert treble("11kHz") < 0.01
    assert treble("11kHz", "--cutoff", "16kHz") > 0.9