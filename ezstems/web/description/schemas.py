"""The JSON of the answers to calls that succeed: schemas, each with examples."""

import re
from typing import Any

from ezstems.jobs import STEMS, UPLOAD_EXTENSIONS
from ezstems.models import COMPLETED, FAILED, PROCESSING, QUEUED
from ezstems.web.api import PREFIX
from ezstems.web.api.keys import DEACTIVATED, STORE_IT

Schema = dict[str, Any]

JOB_ID = rf"[0-9]{{1,12}}_[{''.join(map(str, STEMS))}]"
EXAMPLE_ID = "1699567234_2"
FAILURE = "The file holds no decodable audio."
DATE: Schema = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXT: Schema = {"type": "string", "minLength": 1}


def record(**properties: Schema) -> Schema:
    """Describe an object of exactly these properties."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def constant(value: bool | int | str) -> Schema:
    """Describe a value that is always the same."""
    return {"type": {bool: "boolean", int: "integer", str: "string"}[type(value)], "const": value}


def json_content(schema: Schema, examples: dict[str, Any]) -> dict[str, Any]:
    """Describe a JSON body; each example stands under what it shows."""
    named = {when.replace(" ", "-"): {"summary": when, "value": value} for when, value in examples.items()}
    return {"application/json": {"schema": schema, "examples": named}}


def accepted(root: str) -> dict[str, Any]:
    """Describe the answer to an upload; `root` is the path below which the server lies."""
    schema = record(
        id={"type": "string", "pattern": f"^{JOB_ID}$"},
        filename={"type": "string", "pattern": rf"^{JOB_ID}_[0-9]{{5}}\.({'|'.join(UPLOAD_EXTENSIONS)})$"},
        status=constant(QUEUED),
        stems={"type": "string", "enum": [*map(str, STEMS)]},
        check_status_endpoint=_path(root, "status"),
    )
    example = {
        "id": EXAMPLE_ID,
        "filename": f"{EXAMPLE_ID}_12345.mp3",
        "status": QUEUED,
        "stems": "2",
        "check_status_endpoint": f"{root}{PREFIX}/status.php?id={EXAMPLE_ID}",
    }
    return _success(schema, {"accepted": example})


def state(root: str) -> dict[str, Any]:
    """Describe a job's state, which is one of four."""
    schema = {
        "oneOf": [
            _state(QUEUED, {"type": "integer", "minimum": 1}),
            _state(PROCESSING, constant(0), progress={"type": "integer", "minimum": 0, "maximum": 100}),
            _state(COMPLETED, constant(0), download_url=_path(root, "download")),
            _state(FAILED, constant(0), error=TEXT),
        ]
    }

    def example(status: str, position: int = 0, **extra: Any) -> dict[str, Any]:
        first = {"id": EXAMPLE_ID, "status": status, "queue_position": position}
        return first | {"stems": 2, "created_at": "2025-11-09 14:30:34"} | extra

    url = f"{root}{PREFIX}/download.php?id={EXAMPLE_ID}"
    examples = (
        example(QUEUED, 3),
        example(PROCESSING, progress=42),
        example(COMPLETED, download_url=url),
        example(FAILED, error=FAILURE),
    )
    return _success(schema, {each["status"]: each for each in examples})


def keys(rate_limit: int) -> dict[str, Any]:
    """Describe the list of the account's keys."""
    key = record(
        id={"type": "integer", "minimum": 1},
        api_key={"type": "string", "pattern": r"^\*{8}[0-9a-f]{8}$"},
        is_active={"type": "integer", "enum": [0, 1]},
        rate_limit={"type": "integer", "minimum": 1},
        calls_count=COUNT,
        created_at=DATE,
        last_used_at=DATE | {"type": ["string", "null"]},
    )
    used = {
        "id": 1,
        "api_key": "********abcd1234",
        "is_active": 1,
        "rate_limit": rate_limit,
        "calls_count": rate_limit // 2,
        "created_at": "2025-11-08 12:00:00",
        "last_used_at": "2025-11-08 12:30:00",
    }
    unused = used | {"id": 2, "api_key": "********0123cdef", "calls_count": 0, "last_used_at": None}
    return _success({"type": "array", "items": key}, {"two keys": [used, unused]})


def deactivated() -> dict[str, Any]:
    """Describe the answer to a key's deactivation."""
    schema = record(success=constant(True), message=constant(DEACTIVATED))
    return json_content(schema, {"deactivated": {"success": True, "message": DEACTIVATED}})


def new_key() -> dict[str, Any]:
    """Describe the answer that shows a new key, this once."""
    schema = record(api_key={"type": "string", "pattern": "^[0-9a-f]{64}$"}, message=constant(STORE_IT))
    return _success(schema, {"made": {"api_key": "0123456789abcdef" * 4, "message": STORE_IT}})


def _success(schema: Schema, examples: dict[str, Any]) -> dict[str, Any]:
    wrapped = {when: {"success": True, "data": data} for when, data in examples.items()}
    return json_content(record(success=constant(True), data=schema), wrapped)


def _state(name: str, position: Schema, **extra: Schema) -> Schema:
    return record(
        id={"type": "string", "pattern": f"^{JOB_ID}$"},
        status=constant(name),
        queue_position=position,
        stems={"type": "integer", "enum": [*STEMS]},
        created_at=DATE,
        **extra,
    )


def _path(root: str, endpoint: str) -> Schema:
    # Not re.escape: it escapes what JavaScript's patterns allow no escape of.
    path = re.sub(r"([.?*+^$()\[\]{}|\\])", r"\\\1", f"{root}{PREFIX}/{endpoint}.php?id=")
    return {"type": "string", "format": "uri-reference", "pattern": f"^{path}{JOB_ID}$"}
