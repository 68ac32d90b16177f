"""The API under its literal PHP paths: one module an endpoint."""

from functools import partial

from flask import Flask, current_app, request
from flask_cors import CORS
from werkzeug.exceptions import MethodNotAllowed

from ezstems.web.api import download, jobs, keys, status, upload
from ezstems.web.auth import csrf
from ezstems.web.errors import is_api

PREFIX = "/api/v1"
# What scripts of other sites may read beside the body.
EXPOSED = (
    *("Content-Disposition", "Content-Range", "ETag", "Retry-After", "X-Expires-At", "X-Request-ID"),
    *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    *("Preference-Applied", "Idempotent-Replayed"),
)
PREFLIGHT_SECONDS = 7200  # no browser of Chrome's kind takes more


def init_app(app: Flask) -> None:
    """Add the five endpoints, and CORS for the origins that the settings name."""
    origins = app.config["EZSTEMS_CORS_ORIGINS"]
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = bool(origins)
    for endpoint in (upload, status, download, jobs, keys):
        app.register_blueprint(endpoint.blueprint, url_prefix=PREFIX)
        csrf.exempt(endpoint.blueprint)
    if origins:
        app.before_request(partial(_refuse_options, {origin.lower() for origin in origins}))
        CORS(app, resources={r"/api/.*": {"origins": list(origins)}}, expose_headers=EXPOSED, max_age=PREFLIGHT_SECONDS)


def _refuse_options(origins: set[str]) -> None:
    # Flask would answer OPTIONS to everybody; it is there for the named origins' preflights alone.
    named = "*" in origins or request.headers.get("Origin", "").lower() in origins
    if request.method == "OPTIONS" and is_api() and request.url_rule is not None and not named:
        adapter = current_app.create_url_adapter(request)
        assert adapter is not None
        raise MethodNotAllowed([name for name in adapter.allowed_methods() if name != "OPTIONS"])
