"""Paths as behind Apache: several slashes in a row are one, without a redirect, which would lose a POST's body."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

_SLASHES = re.compile("//+")


def init_app(app: Flask) -> None:
    """Merge slashes before anything looks at the path."""
    app.url_map.merge_slashes = False  # Werkzeug would redirect
    app.wsgi_app = SlashMerger(app.wsgi_app)  # type: ignore[method-assign]


class SlashMerger:
    """Merge the slashes of every path before the app sees it."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Merge the slashes of a request's path, quoted ones too: to the app, and to nginx, they are the same."""
        environ["PATH_INFO"] = _SLASHES.sub("/", environ.get("PATH_INFO", ""))
        return self._app(environ, start_response)
