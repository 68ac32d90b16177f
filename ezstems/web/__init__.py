"""The web: the API at its PHP paths, the website, and what every answer has in common."""

from flask import Flask

from ezstems.web import api, auth, errors, headers, health, proxies, request_log, site, slashes


def init_app(app: Flask) -> None:
    """Put every route and hook on the app."""
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for part in (slashes, request_log, proxies, headers, errors, auth, health, api, site):
        part.init_app(app)
    if app.config["EZSTEMS_METRICS"] == "on":
        from ezstems.web import metrics  # the library and its memory are for who wants it

        metrics.init_app(app)
