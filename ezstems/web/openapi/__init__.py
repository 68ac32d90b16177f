"""The API, described once, in `openapi.yaml`: `/api/openapi.json` is that file, and `/docs` is rendered from it."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ezstems.jobs import FORMATS, OUTPUTS
from ezstems.web.durations import span

HERE = Path(__file__).parent
PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")
LIMITS = "## Limits of this server"
KEPT_UPLOADS = {
    "on": "which is kept as long as the stems are",
    "off": "which on this server is there only until the job ends",
}


def document(base_url: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the server at an address, without a slash at its end, as OpenAPI 3.1 does."""
    window_seconds = settings["EZSTEMS_RATE_WINDOW_SECONDS"]
    values = {
        "base_url": base_url,
        "root": urlsplit(base_url).path,
        "session_cookie": settings["SESSION_COOKIE_NAME"],
        "rate_limit": settings["EZSTEMS_RATE_LIMIT"],
        "rate_window_seconds": window_seconds,
        "rate": f"{settings['EZSTEMS_RATE_LIMIT']} calls in {span(window_seconds)}",
        "account_jobs": settings["EZSTEMS_ACCOUNT_JOBS"],
        "max_duration": span(settings["EZSTEMS_MAX_DURATION_SECONDS"]),
        "retention": span(settings["EZSTEMS_RETENTION_HOURS"] * 3600),
        "cutoff": settings["EZSTEMS_CUTOFF"],
        "kept_uploads": KEPT_UPLOADS[settings["EZSTEMS_KEEP_UPLOADS"]],
        **_formats(),
    }
    filled: dict[str, Any] = _filled(_source(), values)
    return filled


def rules(document: dict[str, Any]) -> list[str]:
    """Return what holds for every call, a paragraph each."""
    text: str = document["info"]["description"]
    return text.partition(LIMITS)[0].strip().split("\n\n")


def limits(document: dict[str, Any]) -> list[list[str]]:
    """Return the server's limits: what, and how much."""
    text: str = document["info"]["description"]
    lines = text.partition(LIMITS)[2].strip().splitlines()
    return [line.removeprefix("- ").removesuffix(".").split(": ", 1) for line in lines]


def inlined(document: dict[str, Any], node: Any) -> Any:
    """Return a part of a document with what its references name in their places."""
    if isinstance(node, list):
        return [inlined(document, each) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" not in node:
        return {name: inlined(document, each) for name, each in node.items()}
    found = document
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return inlined(document, found)


@cache
def _source() -> dict[str, Any]:
    source: dict[str, Any] = yaml.safe_load((HERE / "openapi.yaml").read_text(encoding="utf-8"))
    return source


def _formats() -> dict[str, Any]:
    """Return what the description says of the table of output formats, whose first is the default."""
    names = [f"`{name}`{' (the default)' * (name == OUTPUTS[0])}" for name in OUTPUTS]
    words = [f"{name}: {each.label}, {each.detail}" for name, each in zip(names, FORMATS.values(), strict=True)]
    others = [f"`{name}`: `.{each.extension}`" for name, each in FORMATS.items() if name != each.extension]
    return {
        "output": OUTPUTS[0],
        "outputs": [*OUTPUTS],
        "output_names": ", ".join(OUTPUTS),
        "formats": "; ".join(words),
        "other_extensions": " and ".join(others),
    }


def _filled(node: Any, values: Mapping[str, Any]) -> Any:
    """Return a part of the source with the values in their places; one that is all of a text keeps its type."""
    if isinstance(node, dict):
        return {name: _filled(each, values) for name, each in node.items()}
    if isinstance(node, list):
        return [_filled(each, values) for each in node]
    if not isinstance(node, str):
        return node
    whole = PLACEHOLDER.fullmatch(node)
    return values[whole[1]] if whole else PLACEHOLDER.sub(lambda found: str(values[found[1]]), node)
