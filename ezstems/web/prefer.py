"""`Prefer: wait=N`, as RFC 7240 has it: how long a client would like to wait for an answer."""

from urllib.request import parse_http_list

from flask import request

MOST_SECONDS = 60


def preferred_wait() -> int | None:
    """Return how many seconds the caller would wait at most; None where it names none, or nonsense."""
    for preference in parse_http_list(request.headers.get("Prefer", "")):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":  # of several, the first counts
            return _seconds(value.strip())
    return None


def _seconds(raw: str) -> int | None:
    digits = raw[1:-1] if len(raw) > 1 and raw[0] == raw[-1] == '"' else raw
    if not (digits.isascii() and digits.isdecimal()):
        return None
    return min(MOST_SECONDS, int(digits.lstrip("0")[:3] or "0"))
