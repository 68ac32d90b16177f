"""What Schemathesis must be told about this API: what audio is, how its file is named, that its key lives on, and that
an upload's `Idempotency-Key` was no other's before.

It tells in turn, in the file SCHEMATHESIS_ANSWERS, what was answered; SCHEMATHESIS_INSTANCE and _URL name the database.
"""

import io
import os
import re
import wave
from itertools import count
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import strategies
from schemathesis import Case, HookContext, Response

from tests.support import databases

RATE_HZ = 44_100
IDEMPOTENCY_KEY = "Idempotency-Key"
numbers = count()


def _audio() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(bytes(RATE_HZ // 100 * 4))
    return file.getvalue()


schemathesis.openapi.format("binary", strategies.just(_audio()))
# A receiver that nobody can be: of the URLs there are, few may be sent to.
schemathesis.openapi.format("webhook-url", strategies.just("https://receiver.invalid/hook"))


def _change(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # OpenAPI knows no rule for a file's name, which here must say what the file is.
    if isinstance(request.body, bytes):
        request.body = request.body.replace(b'filename="file"', b'filename="file.wav"')
    key = request.headers.get(IDEMPOTENCY_KEY, "")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,200}", key):
        request.headers[IDEMPOTENCY_KEY] = f"{key}-{next(numbers)}"
    return request


@schemathesis.hook
def before_call(_context: HookContext, _case: Case, kwargs: dict[str, Any]) -> None:
    """Change the request when it is made; the library counts its length anew afterwards."""
    kwargs["auth"] = _change


@schemathesis.hook
def after_call(_context: HookContext, case: Case, response: Response) -> None:
    """Note the answer, and revive the key, which deactivates itself by its DELETE, for the calls to come."""
    with Path(os.environ["SCHEMATHESIS_ANSWERS"]).open("a") as answers:
        answers.write(f"{case.operation.label} {response.status_code}\n")
    if case.method == "DELETE" and response.status_code == 200:
        instance, url = Path(os.environ["SCHEMATHESIS_INSTANCE"]), os.environ["SCHEMATHESIS_URL"]
        databases.query(instance, url or None, "UPDATE api_keys SET is_active = true")
