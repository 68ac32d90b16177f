"""The documentation for operators and contributors, beside the API's page: the files of `ezstems/docs`."""

from functools import cache
from pathlib import Path

from flask import Blueprint, Response, abort, render_template, send_from_directory

from ezstems.web.site.markdown import Page, render

DOCS = Path(__file__).resolve().parents[2] / "docs"
# In the order in which an operator needs them.
PAGES = (
    "mixer",
    "deployment",
    "scaling",
    "models",
    "settings",
    "commands",
    "clients",
    "webhooks",
    "monitoring",
    "retention",
    "recovery",
    "backup",
    "speed",
    "reliability",
    "limits",
    "contributing",
)
IMAGES = ("mixer.png", "speed.svg")
blueprint = Blueprint("manual", __name__)


@blueprint.get("/docs/<name>")
def page(name: str) -> str | Response:
    """Show a page, or one of the pictures in it."""
    if name in IMAGES:
        return send_from_directory(DOCS, name)
    found = pages().get(name)
    if found is None:
        abort(404)
    return render_template("manual.html", page=found)


@blueprint.app_template_global("manual_pages")
@cache
def pages() -> dict[str, Page]:
    """Render every page, once."""
    return {name: render((DOCS / f"{name}.md").read_text(encoding="utf-8")) for name in PAGES}
