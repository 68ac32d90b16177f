"""`/api/openapi.json`: valid, about this very server, and open to all."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from ezstems.errors import BadInput
from ezstems.jobs import API_EXTENSIONS, CUTOFFS, FORMATS, OUTPUTS, PARAMETERS, STEMS, UPLOAD_EXTENSIONS
from ezstems.models import CUSTOM_MAX_MB, MAX_KEY_NAME, PLAN_MAX_MB, STATES, Job
from ezstems.web import openapi
from ezstems.web.api.jobs import DEFAULT_LIMIT, MAX_LIMIT
from ezstems.web.api.metadata import MAX_CHARACTERS, checked_metadata
from ezstems.web.api.upload import chosen
from ezstems.web.job_lookup import _ID
from tests.conftest import Account
from tests.support.multipart import error_of
from tests.support.openapi import EXAMPLE_ID, METHODS, URL, conform, operations, served

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
                for title, example in content.get("examples", {}).items():
                    Draft202012Validator(content["schema"]).validate(example["value"])
                    if title in STATES and status == "200":
                        assert example["value"]["data"]["status"] == title
                    examples += 1
                assert content.get("examples") or status in ("200", "206"), (name, status)
    assert examples > 60


def test_it_names_the_endpoints_and_their_methods(document: dict[str, Any]) -> None:
    methods = {path: sorted(METHODS & set(calls)) for path, calls in document["paths"].items()}
    assert methods == {
        "/api/v1/upload.php": ["post"],
        "/api/v1/status.php": ["get"],
        "/api/v1/download.php": ["get"],
        "/api/v1/jobs.php": ["delete", "get"],
        "/api/v1/keys.php": ["delete", "get", "post"],
    }
    statuses = {name: " ".join(operation["responses"]) for name, operation in operations(document).items()}
    assert statuses == {
        "uploadSong": "200 400 401 403 404 405 500",
        "getStatus": "200 400 401 403 404 405 500",
        "downloadStems": "200 206 304 400 401 403 404 405 416 500",
        "listJobs": "200 400 401 403 404 405 500",
        "deleteJob": "200 400 401 403 404 405 500",
        "listKeys": "200 400 401 403 405 500",
        "deactivateKey": "200 400 401 403 404 405 500",
        "createKey": "200 400 401 405 500",
    }


def test_it_is_about_the_server_that_is_asked(client: FlaskClient) -> None:
    for base in ("http://localhost", "https://stems.example", "http://box.lan:8123", "https://a.example/my-stems/x"):
        validate(client.get(URL, base_url=base).json)
        document = served(client, base)
        assert document["servers"] == [{"url": base}]
        root = base.removeprefix("https://a.example") if "/my-stems" in base else ""
        upload = operations(document)["uploadSong"]["responses"]["200"]
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
    conform(answer, calls["uploadSong"])
    assert answer.json["data"]["check_status_endpoint"].startswith("/my-stems/v1.5/api/v1/status.php?id=")
    job = finished(answer.json["data"]["id"])
    answer = client.get(f"/api/v1/status.php?id={job.id}", base_url=base, headers=account.headers)
    assert answer.json["data"]["status"] == "completed"
    assert answer.json["data"]["download_url"] == f"/my-stems/v1.5/api/v1/download.php?id={job.id}"
    conform(answer, calls["getStatus"])


def test_its_values_are_the_codes_own(make_app: Callable[..., Flask]) -> None:
    document = served(make_app(rate_limit=7, rate_window_seconds=90, retention_hours=1.5, cutoff="16kHz").test_client())
    calls = operations(document)
    text = document["info"]["description"]
    for part in ("7 calls in 90 seconds", "basic 30 MB", "custom up to 300 MB", "3 hours", "90 minutes"):
        assert part in text, part
    plans = ", ".join(f"{plan} {size} MB" for plan, size in PLAN_MAX_MB.items())
    assert f"File size: {plans}, custom up to {CUSTOM_MAX_MB} MB" in text
    too_many = calls["getStatus"]["responses"]["403"]["content"]["application/json"]["examples"]["too-many-calls"]
    assert too_many["value"]["message"].startswith("The key's 7 calls in 90 seconds")
    form = calls["uploadSong"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file", "stems"]
    again = calls["uploadSong"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    assert again["properties"]["source"]["pattern"] == rf"^\s*{_ID.pattern}\s*$"
    shared = {name: field for name, field in form["properties"].items() if name != "file"}
    assert {name: field for name, field in again["properties"].items() if name != "source"} == shared
    enums = {name: field["enum"] for name, field in form["properties"].items() if "enum" in field}
    assert enums == {"stems": [*STEMS], "cutoff": [*CUTOFFS], "output": [*OUTPUTS]}
    assert document["components"]["schemas"]["Status"]["enum"] == [*STATES]
    for name, values in (("file", API_EXTENSIONS), ("stems", STEMS), ("cutoff", CUTOFFS), ("output", OUTPUTS)):
        assert all(str(value) in form["properties"][name]["description"] for value in values), name
    described = form["properties"]["output"]["description"]
    assert described.endswith(".") and "`wav` (the default): WAV, 16 bit; `wav32`: 32-bit float WAV, " in described
    assert "(`wav32`: `.wav`)" in calls["downloadStems"]["description"]
    assert (form["properties"]["cutoff"]["default"], form["properties"]["output"]["default"]) == ("16kHz", "wav")
    assert "`16kHz` (the default)" in form["properties"]["cutoff"]["description"]
    assert calls["getStatus"]["parameters"][0]["schema"]["pattern"] == rf"^\s*{_ID.pattern}\s*$"
    schemas = document["components"]["schemas"]
    assert f"at most {MAX_CHARACTERS} characters" in form["properties"]["metadata"]["description"]
    listing = {each["name"]: each["schema"] for each in calls["listJobs"]["parameters"]}
    assert (listing["limit"]["maximum"], listing["limit"]["default"]) == (MAX_LIMIT, DEFAULT_LIMIT)
    assert listing["before"]["pattern"] == rf"^\s*({_ID.pattern})?\s*$"
    assert (listing["ids"]["maxItems"], listing["ids"]["items"]["pattern"]) == (MAX_LIMIT, f"^{_ID.pattern}$")
    assert listing["status"]["enum"] == [*STATES]
    stem = calls["downloadStems"]["parameters"][1]["schema"]
    assert set(stem["enum"]) == {name for names in STEMS.values() for name in names}
    sent = {"application/zip"} | {each.media_type for each in FORMATS.values()}
    assert all(set(calls["downloadStems"]["responses"][code]["content"]) == sent for code in ("200", "206"))
    assert f"at most {MAX_KEY_NAME} characters" in schemas["KeyName"]["properties"]["name"]["description"]
    accepted, job = schemas["Accepted"]["properties"], schemas["Job"]["properties"]
    assert accepted["id"]["pattern"] == job["id"]["pattern"] == f"^{_ID.pattern}$"
    assert accepted["filename"]["pattern"] == rf"^{_ID.pattern}_[0-9]{{5}}\.({'|'.join(UPLOAD_EXTENSIONS)})$"
    for count, stems in STEMS.items():
        assert f"`{count}`: {', '.join(stems)}" in form["properties"]["stems"]["description"]
        assert f"{count}: {', '.join(f'`{stem}`' for stem in stems)};" in calls["downloadStems"]["description"]


def test_the_server_takes_what_the_form_admits(document: dict[str, Any]) -> None:
    form = operations(document)["uploadSong"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    fields = form["properties"]
    for name, fixed in (("stems", {}), ("cutoff", {"stems": "2"}), ("output", {"stems": "2"})):
        for value in fields[name]["enum"]:
            assert chosen(fixed | {name: str(value)})[name] == value
    # What the server takes besides is said in words.
    for alias, name in PARAMETERS["cutoff"].names.items():
        assert chosen({"stems": "2", "cutoff": alias})["cutoff"] == name
        assert f"`{alias if alias.isdecimal() else name}`" in fields["cutoff"]["description"]
    validator = Draft202012Validator(form)
    assert validator.is_valid({"file": "x", "stems": 4, "cutoff": "16kHz", "unknown": "ignored"})
    metadata = Draft202012Validator(fields["metadata"])
    for sent in ("x" * 512, "x" * 513, "a\nb", "a\x00b", "a\x85b", "\ufffd", " a ", "", "\u200d", "\u00a0"):
        try:
            checked_metadata(sent)
        except BadInput:
            assert not metadata.is_valid(sent), sent
        else:
            assert metadata.is_valid(sent), sent
    for wrong in ({"stems": 4}, {"file": "x"}, {"file": "x", "stems": 3}, {"file": "x", "stems": 2, "output": "tape"}):
        assert not validator.is_valid(wrong), wrong


def nodes(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield every object of a document, with the names that lead to it; what examples hold is none of them."""
    if isinstance(node, list):
        node = {str(number): each for number, each in enumerate(node)}
    elif isinstance(node, dict):
        yield path, node
    else:
        return
    for name, each in node.items():
        if name not in ("example", "examples"):
            yield from nodes(each, (*path, name))


def test_what_generators_make_classes_and_methods_of_has_names(client: FlaskClient) -> None:
    document = client.get(URL).json
    assert {"Upload", "Stems", "Cutoff", "Output", "Accepted", "Status", "Job", "Key", "NewKey", "Error"} <= set(
        document["components"]["schemas"]
    )
    inline = [path for path, node in nodes(document["paths"]) if node.get("type") == "object"]
    assert inline == []
    tags = {tag["name"] for tag in document["tags"]}
    for name, call in operations(document).items():
        assert name.isidentifier() and len(call["tags"]) == 1 and tags.issuperset(call["tags"])
        assert "X-Request-ID" not in [each.get("name") for each in call.get("parameters", ())]
        assert "X-Request-ID" in call["responses"]["200"]["headers"]
    assert document["info"]["contact"] and document["info"]["license"]["identifier"] == "MIT"


def test_answers_may_grow(client: FlaskClient) -> None:
    document = client.get(URL).json
    for path, node in nodes(document):
        assert "additionalProperties" not in node, path
        assert "'" not in str(node.get("const", "")), path
        if "error" in node.get("properties", {}) or "message" in node.get("properties", {}):
            assert all("enum" not in node["properties"].get(name, {}) for name in ("error", "message")), path


def test_everything_has_an_example(client: FlaskClient) -> None:
    document = client.get(URL).json
    seen = 0
    for path, node in nodes(document):
        is_value = path[-2] in ("properties", "schemas") if len(path) > 1 else False
        if is_value and node.get("type", "object") not in ("object", "array") and node.get("format") != "binary":
            assert node["examples"], path
            assert all(Draft202012Validator(node).is_valid(example) for example in node["examples"]), path
            seen += 1
        elif "schema" in node and ("in" in node or path[:2] == ("components", "headers")):
            schema = openapi.inlined(document, node["schema"])
            assert Draft202012Validator(schema).is_valid(node["example"]), path
            seen += 1
    assert seen > 40


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


def test_a_webhook_is_described_where_generators_of_clients_pass_it_by(client: FlaskClient) -> None:
    """OpenAPI Generator makes calls in broken Python of what stands under `webhooks`."""
    document = served(client)
    assert "webhooks" not in document
    (call,) = operations(document)["uploadSong"]["callbacks"]["jobEnded"].values()
    names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
    assert [each["name"] for each in call["post"]["parameters"]] == names
