"""`/health`: open to all, and honest."""

import logging
import queue
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.audio.separate import Separator
from ezstems.database import db
from ezstems.errors import ModelMissing
from ezstems.jobs.desk import Desk
from ezstems.weights import folders
from tests.conftest import Account
from tests.support.multipart import Upload, job_of
from tests.support.separation_box import fill_queue
from tests.support.separators import LABEL, FastSeparator


@pytest.mark.one_box("a cluster tells of more")
def test_a_box_that_can_take_work(
    app: Flask, client: FlaskClient, upload: Upload, separator: FastSeparator
) -> None:
    separator.hold()
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json) == ["status", "queue_length", "model", "free_disk_bytes"]
    assert (answer.json["status"], answer.json["queue_length"], answer.json["model"]) == ("ok", 0, LABEL)
    assert type(answer.json["free_disk_bytes"]) is int and answer.json["free_disk_bytes"] > 0
    for _ in range(3):
        job_of(app, upload())
    assert separator.started.wait(60)
    assert client.get("/health").json["queue_length"] == 2, "one runs, two wait"


@pytest.mark.one_box("it loads the weights itself")
def test_it_names_the_model_of_each_number_of_stems_as_the_log_does_at_the_start(
    desk: Desk,
    client: FlaskClient,
    separator: FastSeparator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(folders.BUILTIN / "4stems", tmp_path / "models" / "4stems")  # stands in for the official one
    monkeypatch.setattr(separator, "label", Separator(tmp_path / "models").label)
    with caplog.at_level(logging.INFO):
        desk.start()
    named = "builtin 2stems, official 4stems, builtin 5stems"
    assert client.get("/health").json["model"] == named
    assert f"worker {desk.id}: started with the model: {named}" in caplog.text


def test_it_costs_no_call(client: FlaskClient, account: Account) -> None:
    answer = client.get("/health", headers=account.headers)
    assert "X-RateLimit-Limit" not in answer.headers
    assert client.get("/api/v1/keys.php", headers=account.headers).json["data"][0]["calls_count"] == 1


def test_a_full_disk(make_app: Callable[..., Flask]) -> None:
    answer = make_app(min_free_mb=10**8).test_client().get("/health")
    assert answer.status_code == 503
    assert answer.json["status"] == "full"
    assert "disk is full" in answer.json["message"]
    assert answer.json["model"] == LABEL


def test_a_full_queue(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    fill_queue(monkeypatch)
    answer = make_app().test_client().get("/health")
    assert answer.status_code == 503
    assert "queue is full" in answer.json["message"]


@pytest.mark.one_box("it loads the weights itself")
def test_no_model(client: FlaskClient, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise ModelMissing("The official weights of 4stems are missing; fetch them.")

    monkeypatch.setattr(separator, "label", missing)
    answer = client.get("/health")
    assert answer.status_code == 503
    assert (answer.json["status"], answer.json["model"]) == ("no model", None)
    assert "fetch them" in answer.json["message"]


def test_no_database(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Mock(side_effect=OperationalError("SELECT", {}, Exception("disk I/O error")))
    monkeypatch.setattr("ezstems.jobs.desk.Job.unfinished_by_status", broken)
    answer = client.get("/health")
    assert (answer.status_code, answer.json["status"]) == (503, "no database")
    assert "I/O" not in answer.text


@pytest.mark.sqlite("its file is deleted or overwritten")
@pytest.mark.parametrize("garbage", [None, b"no database any more" * 1000])
def test_a_database_that_is_gone_or_spoilt(client: FlaskClient, instance: Path, garbage: bytes | None) -> None:
    assert client.get("/health").status_code == 200
    for file in instance.glob("ezstems.sqlite3*"):
        file.unlink()
    if garbage is not None:
        (instance / "ezstems.sqlite3").write_bytes(garbage)
        with client.application.app_context():
            db.engine.dispose()
    answer = client.get("/health")
    assert (answer.status_code, answer.json["status"], answer.json["queue_length"]) == (503, "no database", None)
    assert (instance / "ezstems.sqlite3").exists() == (garbage is not None), "nothing else is put in its place"


@pytest.mark.one_box("its files are in its folder")
@pytest.mark.parametrize(("folder", "status"), [("", "no database"), ("uploads", "full"), ("results", "full")])
def test_a_folder_that_is_gone(client: FlaskClient, instance: Path, folder: str, status: str) -> None:
    (instance / folder).rename(instance.with_name("elsewhere"))
    answer = client.get("/health")
    assert (answer.status_code, answer.json["status"], answer.json["free_disk_bytes"]) == (503, status, 0)
    instance.with_name("elsewhere").rename(instance / folder)
    assert client.get("/health").status_code == 200


@pytest.mark.one_box("it loads the engine itself")
def test_an_engine_that_does_not_load_until_it_does(
    desk: Desk, client: FlaskClient, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: queue.Queue[Exception | None] = queue.Queue()

    def warm() -> None:
        if (error := prepared.get(timeout=20)) is not None:
            raise error

    def answers(code: int) -> TestResponse:
        deadline = time.monotonic() + 60
        while (answer := client.get("/health")).status_code != code:
            assert time.monotonic() < deadline, answer.json
            time.sleep(0.01)
        return answer

    monkeypatch.setattr("ezstems.jobs.background.LOAD_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(separator, "warm", warm)
    desk.start()
    prepared.put(ImportError("no TensorFlow here"))
    answer = answers(503)
    assert answer.json["status"] == "no engine"
    assert "TensorFlow" not in answer.text
    prepared.put(MemoryError())
    prepared.put(None)
    assert answers(200).json["status"] == "ok"
