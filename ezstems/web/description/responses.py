"""The answers around the bodies: status codes, headers, and every error with what it says."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ezstems import disk, errors
from ezstems.web.description.schemas import COUNT, TEXT, constant, json_content, record
from ezstems.web.errors import BUSY, MALFORMED, TABLE, TITLES
from ezstems.web.request_log import HEADER as REQUEST_ID


class Failure(NamedTuple):
    """Name an error, when it comes, and what it says."""

    kind: type[errors.EzStemsError]
    when: str
    text: str


def refusal(when: str, call: Callable[..., object], *arguments: object) -> Failure:
    """Return the error with which the code itself refuses something."""
    try:
        call(*arguments)
    except errors.EzStemsError as error:
        return Failure(type(error), when, str(error))
    raise AssertionError(f"{when} is not refused")


RATE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    REQUEST_ID: ("The request's own id if it had a sane one, or a new one.", TEXT | {"maxLength": 128}),
    "X-RateLimit-Limit": ("The key's calls in a window.", {"type": "integer", "minimum": 1}),
    "X-RateLimit-Remaining": ("How many of them are left.", COUNT),
    "X-RateLimit-Reset": ("When the window ends, in seconds since 1970, UTC.", COUNT),
    "Retry-After": ("In how many seconds to try again.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("How to authenticate.", constant("Bearer")),
    "Allow": ("The methods of this address.", TEXT),
    "Content-Length": ("The bytes of this answer.", COUNT),
    "Content-Disposition": ("A file name, made from that of the upload.", TEXT | {"pattern": "^attachment"}),
    "Content-Range": ("Which bytes these are, of how many.", TEXT | {"pattern": "^bytes "}),
    "Accept-Ranges": ("Parts may be asked for with `Range`.", constant("bytes")),
    "ETag": ("A name of this content, for `If-None-Match` and `If-Range`.", TEXT | {"pattern": '^"[^"]+"$'}),
}
# What the API may refuse whatever was asked.
ANYWHERE = (
    Failure(errors.BadInput, "malformed HTTP", MALFORMED),
    Failure(errors.ServerFull, "full disk", str(disk.full_error())),
    Failure(errors.ServerBusy, "busy database", BUSY),
)
CRASHED = (
    "The server failed. Try again; if it happens again, tell its operator the request id "
    "3fa85f6457174562b3fc2c963f66afa6."
)
SAYS = {
    400: "The request is wrong, or the job's state doesn't allow it.",
    401: "The caller is not known.",
    403: "The key's calls of this window are used up; an upload also when the account has too many unfinished jobs.",
    404: "There is no such thing, or it is another account's, or no longer there.",
    405: "The address doesn't know the method.",
    416: "The file ends before the range that was asked for.",
    500: "The server failed; or its queue or disk is full, its database busy, or too many clients send slowly at this "
    "moment: then `Retry-After` says when to try again.",
}
# The headers that an error of a status always has, and those that it may have.
ALWAYS = {401: ("WWW-Authenticate",), 403: (*RATE, "Retry-After"), 405: ("Allow",), 416: (*RATE, "Content-Range")}
MAYBE = {400: RATE, 404: RATE, 500: (*RATE, "Retry-After")}


def header_components() -> dict[str, Any]:
    """Describe each header as one that is always there and, where that varies, as one that may be."""
    always = {
        name: {"description": description, "required": True, "schema": schema}
        for name, (description, schema) in HEADERS.items()
    }
    varying = sorted({name for names in MAYBE.values() for name in names})
    return always | {f"optional.{name}": always[name] | {"required": False} for name in varying}


def response(
    description: str, content: dict[str, Any] | None = None, *, always: Iterable[str] = (), maybe: Iterable[str] = ()
) -> dict[str, Any]:
    """Describe one answer: its body, the headers that it always has, and those that it may have."""
    named = {name: name for name in (REQUEST_ID, *always)} | {name: f"optional.{name}" for name in maybe}
    headers = {name: {"$ref": f"#/components/headers/{component}"} for name, component in named.items()}
    return {"description": description, "headers": headers} | ({"content": content} if content else {})


def failures(*listed: Failure, allow: str) -> dict[str, Any]:
    """Describe the errors of a call: its own, and those of every call to an address of these methods."""
    texts: dict[int, list[tuple[str, str, str]]] = {
        405: [(TITLES[405], "wrong method", f"PUT is not allowed here; allowed: {allow}.")],
        500: [(TITLES[500], "crash", CRASHED)],
    }
    for kind, when, text in (*listed, *ANYWHERE):
        status, title = TABLE[kind]
        texts.setdefault(status, []).append((title, when, text))
    return {str(status): _failure(status, texts[status]) for status in sorted(texts)}


def out_of_range() -> dict[str, Any]:
    """Describe the refusal of a part that isn't there, in the words of the HTTP library."""
    text = "The server cannot provide the requested range."
    return {"416": _failure(416, [("Requested Range Not Satisfiable", "range past the end", text)])}


def _failure(status: int, texts: list[tuple[str, str, str]]) -> dict[str, Any]:
    titles = list(dict.fromkeys(title for title, _, _ in texts))
    examples = {when: {"error": title, "message": text} for title, when, text in texts}
    content = json_content(record(error={"type": "string", "enum": titles}, message=TEXT), examples)
    return response(SAYS[status], content, always=ALWAYS.get(status, ()), maybe=MAYBE.get(status, ()))
