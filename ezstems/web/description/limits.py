"""The rules of every call, and this server's limits, in words."""

from collections.abc import Mapping
from typing import Any

from ezstems.models import CUSTOM_MAX_MB, PLAN_MAX_MB

UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def rules(settings: Mapping[str, Any]) -> list[str]:
    """Say what holds for every call, a paragraph each."""
    return [
        'Success has status 200 and the body `{"success": true, "data": …}`, or `message` in place of `data`. An error '
        'has another status and the body `{"error": "…", "message": "…"}`: a short title, and what to do about it. '
        "Both are JSON, and so is the answer to an unknown address below `/api/`, a 404.",
        "Parameters are read as PHP reads them: of a repeated one the last value counts, unknown ones are ignored, and "
        "so is white space around a value; an optional one that is empty is as good as missing. Several slashes in a "
        "row are one. Dates are UTC.",
        f"Every call that a key authenticates counts once against its rate limit: {_rate(settings)}, unless the key "
        "has its own; the first call starts the window. One call more gets a 403 with `Retry-After`, in seconds, and "
        "is not counted. Every answer to a valid key says how the key stands: `X-RateLimit-Limit`, "
        "`X-RateLimit-Remaining`, and `X-RateLimit-Reset` in seconds since 1970, UTC.",
        "Every answer carries `X-Request-ID`: your own, if the request had a sane one. The server's log names it.",
    ]


def limits(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name this server's limits: what, and how much."""
    plans = ", ".join(f"{plan} {size} MB" for plan, size in PLAN_MAX_MB.items())
    return [
        ("File size", f"{plans}, custom up to {CUSTOM_MAX_MB} MB; an MB is 1,048,576 bytes"),
        ("Length of the audio", span(settings["EZSTEMS_MAX_DURATION_SECONDS"])),
        ("Rate limit of a key", f"{_rate(settings)}, unless the key has its own"),
        ("Unfinished jobs of an account", f"{settings['EZSTEMS_ACCOUNT_JOBS']}, waiting and running ones together"),
        ("Finished stems are kept", span(settings["EZSTEMS_RETENTION_HOURS"] * 3600)),
    ]


def span(seconds: float) -> str:
    """Write a duration in the largest unit that divides it."""
    size, name = next((unit for unit in UNITS if seconds % unit[0] == 0), UNITS[-1])
    count = f"{seconds / size:g}" if seconds % 1 else f"{int(seconds) // size}"
    return f"{count} {name}{'' if count == '1' else 's'}"


def _rate(settings: Mapping[str, Any]) -> str:
    return f"{settings['EZSTEMS_RATE_LIMIT']} calls in {span(settings['EZSTEMS_RATE_WINDOW_SECONDS'])}"
