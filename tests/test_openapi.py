"""`/api/openapi.json`: valid, about this very server, and open to all."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from ezstems.errors import BadInput
from ezstems.jobs import CUTOFFS, OUTPUTS, PARAMETERS, STEMS, UPLOAD_EXTENSIONS
from ezstems.models import Job
from ezstems.web.api.upload import chosen
from ezstems.web.api.upload_form import MAX_FIELD_BYTES
from ezstems.web.description.schemas import EXAMPLE_ID
from ezstems.web.job_lookup import _ID
from tests.conftest import Account
from tests.multipart import error_of
from tests.openapi import METHODS, URL, conform, operations, served

ORIGIN = "https://music.example"


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return served(client)


def test_it_is_valid(client: FlaskClient) -> None:
    answer = client.get(URL)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json["openapi"].startswith("3.1")
    validate(answer.json)


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    examples = 0
    for name, operation in operations(document).items():
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                Draft202012Validator.check_schema(content["schema"])
                for example in content.get("examples", {}).values():
                    Draft202012Validator(content["schema"]).validate(example["value"])
                    examples += 1
                assert content.get("examples") or status in ("200", "206"), (name, status)
    assert examples > 60


def test_it_names_the_four_endpoints_and_their_methods(document: dict[str, Any]) -> None:
    methods = {path: sorted(METHODS & set(calls)) for path, calls in document["paths"].items()}
    assert methods == {
        "/api/v1/upload.php": ["post"],
        "/api/v1/status.php": ["get"],
        "/api/v1/download.php": ["get"],
        "/api/v1/keys.php": ["delete", "get", "post"],
    }
    statuses = {name: " ".join(operation["responses"]) for name, operation in operations(document).items()}
    assert statuses == {
        "upload": "200 400 401 403 405 500",
        "status": "200 400 401 403 404 405 500",
        "download": "200 206 304 400 401 403 404 405 416 500",
        "listKeys": "200 400 401 403 405 500",
        "deactivateKey": "200 400 401 403 404 405 500",
        "issueKey": "200 400 401 405 500",
    }


def test_it_is_about_the_server_that_is_asked(client: FlaskClient) -> None:
    for base in ("http://localhost", "https://stems.example", "http://box.lan:8123", "https://a.example/my-stems/x"):
        validate(client.get(URL, base_url=base).json)
        document = served(client, base)
        assert document["servers"] == [{"url": base}]
        root = base.removeprefix("https://a.example") if "/my-stems" in base else ""
        upload = operations(document)["upload"]["responses"]["200"]
        example = upload["content"]["application/json"]["examples"]["accepted"]["value"]["data"]
        assert example["check_status_endpoint"] == f"{root}/api/v1/status.php?id={EXAMPLE_ID}"
    odd = client.get(URL, base_url="https://a.example/it's $(x) ü").json["servers"][0]["url"]
    assert odd == "https://a.example/it%27s%20%24%28x%29%20%C3%BC"


def test_an_upload_below_a_prefix_is_answered_as_described(
    client: FlaskClient, account: Account, song: bytes, finished: Callable[[str], Job]
) -> None:
    base = "https://a.example/my-stems/v1.5"
    calls = operations(served(client, base))
    form = {"file": (io.BytesIO(song), "song.wav"), "stems": "2"}
    answer = client.post("/api/v1/upload.php", base_url=base, data=form, headers=account.headers)
    conform(answer, calls["upload"])
    job = finished(answer.json["data"]["id"])
    answer = client.get(f"/api/v1/status.php?id={job.id}", base_url=base, headers=account.headers)
    assert answer.json["data"]["status"] == "completed"
    conform(answer, calls["status"])


def test_its_values_are_the_codes_own(make_app: Callable[..., Flask]) -> None:
    document = served(make_app(rate_limit=7, rate_window_seconds=90, retention_hours=1.5, cutoff="16kHz").test_client())
    calls = operations(document)
    text = document["info"]["description"]
    for part in ("7 calls in 90 seconds", "basic 30 MB", "custom up to 300 MB", "3 hours", "90 minutes"):
        assert part in text, part
    too_many = calls["status"]["responses"]["403"]["content"]["application/json"]["examples"]["too-many-calls"]
    assert too_many["value"]["message"].startswith("The key's 7 calls in 90 seconds")
    form = calls["upload"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file", "stems"]
    for name, values in (("file", UPLOAD_EXTENSIONS), ("stems", STEMS), ("cutoff", CUTOFFS), ("output", OUTPUTS)):
        assert all(str(value) in form["properties"][name]["description"] for value in values), name
    described = form["properties"]["output"]["description"]
    assert described.endswith(".") and "`wav` (the default): WAV, 16 bit; `wav32`: 32-bit float WAV, " in described
    assert "(`wav32`: `.wav`)" in calls["download"]["description"]
    assert (form["properties"]["cutoff"]["default"], form["properties"]["output"]["default"]) == ("16kHz", "wav")
    assert "`16kHz` (the default)" in form["properties"]["cutoff"]["description"]
    assert calls["status"]["parameters"][0]["schema"]["pattern"] == rf"^\s*{_ID.pattern}\s*$"


def test_the_form_admits_what_the_server_takes_and_nothing_else(document: dict[str, Any]) -> None:
    form = operations(document)["upload"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    words = {*PARAMETERS["cutoff"].names, *OUTPUTS, *map(str, STEMS)}
    values = [*words, *map(str.upper, words), *map(str.title, words), "", " ", "3", "22", "4.0", "04", "+4", "11 kHz"]
    blanks = ((" ", ""), ("\t\v", "\r\n\f"), ("", "\u00a0"))
    values += [f"{before}{word}{after}" for word in words for before, after in blanks]
    values += [" " * count + "4" for count in (MAX_FIELD_BYTES - 1,)]
    for name, fixed in (("stems", {}), ("cutoff", {"stems": "2"}), ("output", {"stems": "2"})):
        validator = Draft202012Validator(form["properties"][name])
        for value in values:
            try:
                taken = bool(chosen(fixed | {name: value}))
            except BadInput:
                taken = False
            assert validator.is_valid(value) == taken, (name, value)
    validator = Draft202012Validator(form)
    assert validator.is_valid({"file": "x", "stems": 4, "cutoff": 16000, "unknown": "ignored"})
    assert not validator.is_valid({"stems": "4"}) and not validator.is_valid({"file": "x"})
    assert not validator.is_valid({"file": "x", "stems": " " * MAX_FIELD_BYTES + "4"})


def test_it_is_open_and_counts_no_call(client: FlaskClient, account: Account) -> None:
    answer = client.get(URL, headers=account.headers)
    assert answer.status_code == 200 and "X-RateLimit-Limit" not in answer.headers
    assert client.get("/api/v1/keys.php", headers=account.headers).headers["X-RateLimit-Remaining"] == "99"
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = client.open(URL, method=method)
        error_of(refused, 405)
        assert {name.strip() for name in refused.headers["Allow"].split(",")} == {"GET", "HEAD"}
    assert client.head(URL).status_code == 200
    for path in ("/api/openapi.json/", "/api/openapi.yaml", "/openapi.json"):
        assert client.get(path).status_code == 404


def test_other_sites_may_read_it_where_they_may_call_the_api(make_app: Callable[..., Flask]) -> None:
    client = make_app(cors_origins=ORIGIN).test_client()
    assert client.get(URL, headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    assert client.options(URL, headers=asked).status_code == 200
    for origin in ("https://evil.example", "null"):
        assert "Access-Control-Allow-Origin" not in client.get(URL, headers={"Origin": origin}).headers
        error_of(client.options(URL, headers=asked | {"Origin": origin}), 405)
