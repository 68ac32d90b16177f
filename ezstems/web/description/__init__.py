"""The API, described once: `/api/openapi.json` is this, and the documentation page is rendered from it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ezstems.web.description.limits import limits, rules
from ezstems.web.description.operations import BY_KEY, BY_SESSION, TOKEN, TOKEN_HEADER, paths
from ezstems.web.description.responses import header_components
from ezstems.web.request_log import HEADER as REQUEST_ID

__all__ = ["document", "inlined", "limits", "rules"]


def document(base_url: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the server at an address, without a slash at its end, as OpenAPI 3.1 does."""
    request_id = {
        "name": REQUEST_ID,
        "in": "header",
        "description": "A name for this call, which the answer repeats; one that isn't sane is replaced.",
        "schema": {"type": "string"},
    }
    named_limits = [f"{name}: {text}." for name, text in limits(settings)]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "EzStems",
            "version": "1",
            "summary": "Separates songs into stems.",
            "description": "\n\n".join([*rules(settings), *named_limits]),
        },
        "servers": [{"url": base_url}],
        "security": [{BY_KEY: []}],
        "paths": paths(urlsplit(base_url).path, settings),
        "components": {
            "headers": header_components(),
            "parameters": {REQUEST_ID: request_id},
            "securitySchemes": {
                BY_KEY: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`Authorization: Bearer YOUR_API_KEY`; a key is made on the account page.",
                },
                BY_SESSION: {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": settings["SESSION_COOKIE_NAME"],
                    "description": "The website's login.",
                },
                TOKEN: {
                    "type": "apiKey",
                    "in": "header",
                    "name": TOKEN_HEADER,
                    "description": "The token in a page's `<meta name=\"csrf-token\">`, for a session's calls that "
                    "change something.",
                },
            },
        },
    }


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
