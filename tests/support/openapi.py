"""What the tests of the API's description share: the description as served, and an answer held against it."""

from typing import Any

from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from ezstems.web import openapi

URL = "/api/openapi.json"
METHODS = {"get", "post", "delete"}
# The id of the job in the description's examples.
EXAMPLE_ID = "1699567234_2"


def served(client: FlaskClient, base_url: str | None = None) -> dict[str, Any]:
    """Return the description that a client gets, with what its references name in their places."""
    document = client.get(URL, base_url=base_url).json
    return openapi.inlined(document, document)


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations by their ids."""
    calls = [call for path in document["paths"].values() for method, call in path.items() if method in METHODS]
    return {call["operationId"]: call for call in calls}


def exact(schema: Any) -> Any:
    """Return a schema that admits no property beside those it names: clients shall let more pass, this server not."""
    if isinstance(schema, list):
        return [exact(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if schema.get("type") == "object" else {}
    return {name: exact(each) for name, each in schema.items()} | closed


def conform(answer: TestResponse, operation: dict[str, Any]) -> None:
    """Hold an answer against an operation's description: its status, its headers, its body."""
    where = (operation["operationId"], answer.status_code, answer.text if answer.is_json else "")
    assert str(answer.status_code) in operation["responses"], where
    described = operation["responses"][str(answer.status_code)]
    for name, header in described["headers"].items():
        assert name in answer.headers or not header["required"], (where, name)
        if name in answer.headers:
            value = answer.headers[name]
            is_number = header["schema"].get("type") == "integer"
            Draft202012Validator(header["schema"]).validate(int(value) if is_number else value)
    documented = {"Content-Type", "Vary", "Last-Modified", "Expires", "Date", "Cache-Control", *described["headers"]}
    documented |= {"Content-Length", "Set-Cookie", "Cross-Origin-Resource-Policy", "Referrer-Policy"}
    assert set(answer.headers.keys()) <= documented | {"X-Content-Type-Options"}, where
    content = described.get("content", {})
    assert answer.headers["Content-Type"] in content if content else answer.data == b"", where
    if answer.is_json:
        Draft202012Validator(exact(content["application/json"]["schema"])).validate(answer.json)
        assert answer.json.get("success") is (True if answer.status_code == 200 else None), where
