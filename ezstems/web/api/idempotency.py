"""`Idempotency-Key`: an upload that is sent again is answered as it was the first time, and makes no second job."""

import hashlib
import json
import re

from flask import Response, request

from ezstems.errors import BadInput
from ezstems.models import IdempotencyKey
from ezstems.web.api.upload_form import UploadForm

HEADER = "Idempotency-Key"
# Visible ASCII; as many characters as a row holds.
_KEY = re.compile(r"[!-~]{1,255}")
TOLD_CHARACTERS = 64


def called_key() -> str | None:
    """Return the key that the request bears; None where it bears none."""
    key = request.headers.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise BadInput(f"{HEADER}={key[:TOLD_CHARACTERS]!r} must be 1 to 255 visible ASCII characters.")
    return key


def fingerprint(form: UploadForm) -> str:
    """Return what tells an upload from others: its file's bytes and name, and its fields; empty ones are as missing."""
    fields = {name: value.strip() for name, value in form.fields.items() if value.strip()}
    file = None if form.incoming is None else (form.filename, form.incoming.size_bytes, form.incoming.sha256)
    return hashlib.sha256(json.dumps([fields, file], sort_keys=True).encode()).hexdigest()


def first_answer(first: IdempotencyKey, form: UploadForm) -> Response:
    """Answer as the first upload with a key was, if this one is the same."""
    if fingerprint(form) != first.fingerprint:
        raise BadInput(
            f"{HEADER}={first.key[:TOLD_CHARACTERS]!r} came with another file, file name or fields before. "
            "Each upload needs a key of its own."
        )
    answer = Response(first.answer, mimetype="application/json")
    answer.headers["Idempotent-Replayed"] = "true"
    return answer
