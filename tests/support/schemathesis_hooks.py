"""What Schemathesis must be told about this API: what audio is, how its file is named, and that its key lives on.

It tells in turn, in the file SCHEMATHESIS_ANSWERS, what was answered; SCHEMATHESIS_INSTANCE and _URL name the database.
"""

import io
import os
import wave
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import strategies
from schemathesis import Case, HookContext, Response

from tests.support import databases

RATE_HZ = 44_100


def _audio() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(bytes(RATE_HZ // 100 * 4))
    return file.getvalue()


schemathesis.openapi.format("binary", strategies.just(_audio()))


def _name_file(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # OpenAPI knows no rule for a file's name, which here must say what the file is.
    if isinstance(request.body, bytes):
        request.body = request.body.replace(b'filename="file"', b'filename="file.wav"')
    return request


@schemathesis.hook
def before_call(_context: HookContext, _case: Case, kwargs: dict[str, Any]) -> None:
    """Change the request when it is made; the library counts its length anew afterwards."""
    kwargs["auth"] = _name_file


@schemathesis.hook
def after_call(_context: HookContext, case: Case, response: Response) -> None:
    """Note the answer, and revive the key, which deactivates itself by its DELETE, for the calls to come."""
    with Path(os.environ["SCHEMATHESIS_ANSWERS"]).open("a") as answers:
        answers.write(f"{case.operation.label} {response.status_code}\n")
    if case.method == "DELETE" and response.status_code == 200:
        instance, url = Path(os.environ["SCHEMATHESIS_INSTANCE"]), os.environ["SCHEMATHESIS_URL"]
        databases.query(instance, url or None, "UPDATE api_keys SET is_active = true")
