"""axe-core, which judges a page's accessibility, as its lock file pins it."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page

from tests.clients.programs import UNREACHABLE

HERE = Path(__file__).resolve().parent
INSTALL_SECONDS = 120


class Unavailable(Exception):
    """Say why there is no axe-core."""


@cache
def script() -> str:
    """Install axe-core outside the tree, once a session; raise Unavailable where that can't be done."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    with TemporaryDirectory(prefix="ezstems-axe-") as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if done.returncode and any(reason in done.stderr for reason in UNREACHABLE):
            raise Unavailable("the npm registry can't be reached")
        assert done.returncode == 0, done.stderr
        return (Path(folder) / "node_modules" / "axe-core" / "axe.min.js").read_text()


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
