"""The calls: what each takes, what it answers, and how it fails."""

from collections.abc import Mapping
from typing import Any

from ezstems.errors import BadInput, DamagedFile, NotFound, RateLimited, ServerFull, TooManyJobs, Unauthenticated
from ezstems.jobs import DAMAGED_RESULT, FORMATS, STEMS
from ezstems.models import FAILED, MAX_KEY_NAME, QUEUED, STATES, Job
from ezstems.web.api import PREFIX
from ezstems.web.api.download import require_completed
from ezstems.web.auth import BAD_KEY, NO_KEY, NO_SESSION
from ezstems.web.description import schemas
from ezstems.web.description.form import form_failures, upload_form
from ezstems.web.description.responses import RATE, Failure, failures, out_of_range, refusal, response
from ezstems.web.description.schemas import EXAMPLE_ID, FAILURE, JOB_ID
from ezstems.web.job_lookup import expired

TOKEN_HEADER = "X-CSRFToken"
BY_KEY, BY_SESSION, TOKEN = "key", "session", "csrf"
FILE = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
FILE_HEADERS = (*RATE, "Accept-Ranges", "Content-Disposition", "Content-Length", "ETag")
TEXT_HEADER = {"type": "string"}

NO_ID = Failure(BadInput, "no id", "The parameter id is missing: the id that upload.php answered.")
BAD_ID = Failure(BadInput, "malformed id", f"id='abc' must look like {EXAMPLE_ID}: what upload.php answered.")
UNKNOWN = Failure(NotFound, "unknown id", f"There is no job {EXAMPLE_ID}.")
STRANGER = (Failure(Unauthenticated, "no key", NO_KEY), Failure(Unauthenticated, "unknown key", BAD_KEY))
NO_TOKEN = Failure(
    BadInput, "session without token", "The CSRF token is missing. Send the page's token as the header X-CSRFToken."
)


def paths(root: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the four addresses; `root` is the path below which the server lies."""
    default, window = settings["EZSTEMS_RATE_LIMIT"], settings["EZSTEMS_RATE_WINDOW_SECONDS"]
    used_up = f"The key's {default} calls in {window} seconds are used up. Try again in {window} s."
    refused = (*STRANGER, Failure(RateLimited, "too many calls", used_up))
    common = {"parameters": [{"$ref": "#/components/parameters/X-Request-ID"}]}
    return {
        f"{PREFIX}/upload.php": common | {"post": _upload(root, settings, refused)},
        f"{PREFIX}/status.php": common | {"get": _status(root, refused)},
        f"{PREFIX}/download.php": common | {"get": _download(refused)},
        f"{PREFIX}/keys.php": common | _keys(default, refused),
    }


def _upload(root: str, settings: Mapping[str, Any], refused: tuple[Failure, ...]) -> dict[str, Any]:
    account_jobs = settings["EZSTEMS_ACCOUNT_JOBS"]
    full = Failure(ServerFull, "full queue", "The queue is full. Try again later.")
    taken = f"The account may have {account_jobs} unfinished jobs at a time, and has. Try again when one has finished."
    many = Failure(TooManyJobs, "too many unfinished jobs", taken)
    answer = response("The file is on disk and its job in the queue.", schemas.accepted(root), always=RATE)
    answer["links"] = _link("status")
    return {
        "operationId": "upload",
        "summary": "Upload a song",
        "description": "Takes an audio file and lines up its separation. The answer names the job, `id`, which is safe "
        "from then on: a server that stops or crashes goes on with it when it starts again. All fields are read from "
        "the form; what the address may hold besides is ignored. The body must be sent plain, without a "
        "`Content-Encoding`. A client that sends `Expect: 100-continue` is told of a refusal before it sends the file.",
        "requestBody": upload_form(settings["EZSTEMS_CUTOFF"]),
        "responses": {"200": answer, **failures(*form_failures(), *refused, many, full, allow="POST")},
    }


def _status(root: str, refused: tuple[Failure, ...]) -> dict[str, Any]:
    answer = response("The job's state.", schemas.state(root), always=RATE)
    answer["links"] = _link("download")
    return {
        "operationId": "status",
        "summary": "Ask how far a job is",
        "description": "`status` is one of {}. While it is `queued`, `queue_position` counts from 1, the next to run; "
        "otherwise it is 0. `processing` adds `progress` in percent, `completed` adds `download_url`, and `failed` "
        "adds `error`, which says what was wrong.".format(", ".join(f"`{state}`" for state in STATES)),
        "parameters": [_job_id()],
        "responses": {"200": answer, **failures(NO_ID, BAD_ID, *refused, UNKNOWN, _expired(), allow="GET, HEAD")},
    }


def _download(refused: tuple[Failure, ...]) -> dict[str, Any]:
    unfinished = refusal("not finished", require_completed, Job(id=EXAMPLE_ID, status=QUEUED))
    damaged = Failure(DamagedFile, "damaged on the server's disk", DAMAGED_RESULT)
    failed = refusal("failed", require_completed, Job(id=EXAMPLE_ID, status=FAILED, error=FAILURE))
    described = {
        "Range": "One range of bytes, as in `bytes=1000-`; any other value is ignored.",
        "If-Range": "The `ETag` that the parts so far came with: where it differs, the whole file is sent.",
        "If-None-Match": "An `ETag`: where it is still the file's own, nothing is sent.",
    }
    headers = [
        {"name": name, "in": "header", "description": text, "schema": TEXT_HEADER} for name, text in described.items()
    ]
    unchanged = tuple(name for name in FILE_HEADERS if name != "Content-Length")
    answers = {
        "200": response("The ZIP.", FILE, always=FILE_HEADERS),
        "206": response("The part that `Range` names.", FILE, always=(*FILE_HEADERS, "Content-Range")),
        "304": response("The file is still the one that `If-None-Match` names.", always=unchanged),
        **failures(NO_ID, BAD_ID, unfinished, failed, damaged, *refused, UNKNOWN, _expired(), allow="GET, HEAD"),
        **out_of_range(),
    }
    others = " and ".join(f"`{name}`: `.{each.extension}`" for name, each in FORMATS.items() if name != each.extension)
    contents = "; ".join(f"{stems}: {', '.join(f'`{name}`' for name in names)}" for stems, names in STEMS.items())
    return {
        "operationId": "download",
        "summary": "Download the stems",
        "description": "Answers with a ZIP that holds a file a stem, in the format that the upload asked for, each "
        f"exactly as long as the song. Their names, by the number of stems: {contents}; their extension is the "
        f"format's name ({others}).",
        "parameters": [_job_id(), *headers],
        "responses": dict(sorted(answers.items())),
    }


def _keys(rate_limit: int, refused: tuple[Failure, ...]) -> dict[str, Any]:
    allow = "DELETE, GET, HEAD, POST"
    number = {
        "name": "id",
        "in": "query",
        "description": "The number of one of the account's keys. A session must name one; with a key it is ignored.",
        "schema": {"type": "string"},
    }
    no_number = Failure(BadInput, "session names no key", "id='' must be the number of one of your keys.")
    no_key = Failure(NotFound, "session names an unknown key", "You have no key 7.")
    no_login = Failure(Unauthenticated, "no session", NO_SESSION)
    bad_name = Failure(
        BadInput, "long name", f"name={'x' * MAX_KEY_NAME!r} must be at most {MAX_KEY_NAME} printable characters."
    )
    return {
        "get": {
            "operationId": "listKeys",
            "summary": "List the account's keys",
            "description": "For a key, or a session of the website: the account's keys, oldest first, of each the last "
            "eight characters. `calls_count` counts the calls inside the present window, so that `rate_limit - "
            "calls_count` are left.",
            "security": [{BY_KEY: []}, {BY_SESSION: []}],
            "responses": {
                "200": response("The keys.", schemas.keys(rate_limit), maybe=RATE),
                **failures(*refused, allow=allow),
            },
        },
        "delete": {
            "operationId": "deactivateKey",
            "summary": "Deactivate a key",
            "description": "With a key: deactivates that key, for good. With a session of the website, which needs its "
            f"CSRF token as the header `{TOKEN_HEADER}`: the key that `id` names.",
            "security": [{BY_KEY: []}, {BY_SESSION: [], TOKEN: []}],
            "parameters": [number],
            "responses": {
                "200": response("The key opens nothing any more.", schemas.deactivated(), maybe=RATE),
                **failures(NO_TOKEN, no_number, *refused, no_key, allow=allow),
            },
        },
        "post": {
            "operationId": "issueKey",
            "summary": "Make a key",
            "description": "For a session of the website alone, with its CSRF token as the header "
            f"`{TOKEN_HEADER}`; a key is not enough. This is what the account page's button does.",
            "security": [{BY_SESSION: [], TOKEN: []}],
            "requestBody": _key_form(),
            "responses": {
                "200": response("The key, which is never shown again.", schemas.new_key()),
                **failures(NO_TOKEN, bad_name, no_login, allow=allow),
            },
        },
    }


def _expired() -> Failure:
    return Failure(NotFound, "expired", str(expired(Job(id=EXAMPLE_ID))))


def _job_id() -> dict[str, Any]:
    schema = {"type": "string", "pattern": rf"^\s*{JOB_ID}\s*$"}
    text = "What `upload.php` answered as `id`."
    return {"name": "id", "in": "query", "required": True, "description": text, "schema": schema, "example": EXAMPLE_ID}


def _link(operation: str) -> dict[str, Any]:
    return {operation: {"operationId": operation, "parameters": {"id": "$response.body#/data/id"}}}


def _key_form() -> dict[str, Any]:
    name = {
        "type": "string",
        "pattern": rf"^\s*[^\u0000-\u001f\u007f]{{0,{MAX_KEY_NAME}}}\s*$",
        "description": f"What to call the key on the account page: at most {MAX_KEY_NAME} characters.",
    }
    form = {"schema": {"type": "object", "properties": {"name": name}}}
    return {"content": {"application/x-www-form-urlencoded": form, "multipart/form-data": form}}
