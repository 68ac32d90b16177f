"""The API's documentation: for programs, and for people."""

import json
import re
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, current_app, jsonify, render_template, request
from markupsafe import Markup, escape

from ezstems.web import openapi
from ezstems.web.api import PREFIX
from ezstems.web.openapi.programs import programs

blueprint = Blueprint("docs", __name__)


@blueprint.get("/api/openapi.json")
def described() -> Response:
    """Answer with the description of this very server."""
    return jsonify(openapi.document(_base_url(), current_app.config))


@blueprint.get("/docs")
def docs() -> str:
    """Show the same, and programs that use it."""
    base_url = _base_url()
    document = openapi.document(base_url, current_app.config)
    return render_template(
        "docs.html",
        api=openapi.inlined(document, document),
        base_url=base_url,
        prefix=PREFIX,
        rules=openapi.rules(document),
        limits=openapi.limits(document),
        programs=programs(base_url),
    )


@blueprint.app_template_filter()
def prose(text: str) -> Markup:
    """Mark what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@blueprint.app_template_filter()
def basename(path: str) -> str:
    """Return what stands behind the last slash."""
    return path.rpartition("/")[2]


@blueprint.app_template_filter()
def pretty(value: Any) -> str:
    """Write JSON to be read by people, in its own order."""
    return json.dumps(value, indent=2, ensure_ascii=False)


@blueprint.app_template_filter()
def forms(content: dict[str, Any]) -> list[tuple[dict[str, Any], list[str]]]:
    """Return a body's different forms, each with the types as which it may be sent."""
    found: list[tuple[dict[str, Any], list[str]]] = []
    for name, described in content.items():
        same = [types for form, types in found if form == described["schema"]]
        if same:
            same[0].append(name)
        else:
            found.append((described["schema"], [name]))
    return found


def _base_url() -> str:
    # Percent-encoded, it means nothing to the shells and languages of the samples.
    return quote(request.url_root.removesuffix("/"), safe=":/[]%")
