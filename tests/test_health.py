"""`/health`: open to all, and honest."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from ezstems.audio import weights
from ezstems.audio.separate import Separator
from ezstems.errors import ModelMissing
from ezstems.jobs.worker import Worker
from tests.conftest import Account
from tests.multipart import Upload, job_of
from tests.separators import LABEL, FastSeparator


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
    assert separator.started.wait(10)
    assert client.get("/health").json["queue_length"] == 2, "one runs, two wait"


def test_it_names_the_model_of_each_number_of_stems_as_the_log_does_at_the_start(
    worker: Worker,
    client: FlaskClient,
    separator: FastSeparator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(weights.BUILTIN / "4stems", tmp_path / "models" / "4stems")  # stands in for the official one
    monkeypatch.setattr(separator, "label", Separator(tmp_path / "models").label)
    with caplog.at_level(logging.INFO):
        worker.start()
    named = "builtin 2stems, official 4stems, builtin 5stems"
    assert client.get("/health").json["model"] == named
    assert f"worker {worker.id}: started with the model: {named}" in caplog.text


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
    monkeypatch.setattr("ezstems.jobs.queue.JobQueue.full", property(lambda self: True))
    answer = make_app().test_client().get("/health")
    assert answer.status_code == 503
    assert "queue is full" in answer.json["message"]


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
    monkeypatch.setattr("ezstems.jobs.worker.db.session.query", broken)
    answer = client.get("/health")
    assert (answer.status_code, answer.json["status"]) == (503, "no database")
    assert "I/O" not in answer.text


def test_an_engine_that_does_not_load(
    worker: Worker, client: FlaskClient, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(separator, "prepare", Mock(side_effect=ImportError("no TensorFlow here")))
    worker.start()
    deadline = time.monotonic() + 10
    while (answer := client.get("/health")).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (answer.status_code, answer.json["status"]) == (503, "no engine")
    assert "TensorFlow" not in answer.text
