"""axe-core, which judges a page's accessibility, as its lock file pins it."""

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.clients.programs import install

HERE = Path(__file__).resolve().parent


@cache
def script() -> str:
    """Return axe-core; raise Unavailable where it can't be had."""
    return (install(HERE) / "axe-core" / "axe.min.js").read_text()


def violations(page: Page) -> list[str]:
    """Return what is wrong with a page, as it is now, seriously or critically."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(script())
    found: list[dict[str, Any]] = page.evaluate("""() =>
      axe.run({ resultTypes: ["violations"] }).then(({ violations }) => violations.flatMap(
        ({ id, impact, nodes }) => nodes.map(({ html, any, all, none }) => ({
          id, impact, html, why: [...any, ...all, ...none].map(({ message }) => message).join("; "),
        }))))""")
    return [
        f"{each['id']} ({each['impact']}): {each['html'][:200]}: {each['why']}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
