"""The API under its literal PHP paths: one module an endpoint."""

from functools import partial

from flask import Flask, current_app, request
from flask_cors import CORS
from werkzeug.exceptions import MethodNotAllowed

from ezstems.web.api import download, keys, status, upload
from ezstems.web.auth import csrf
from ezstems.web.errors import is_api

PREFIX = "/api/v1"


def init_app(app: Flask) -> None:
    """Add the four endpoints, and CORS for the origins that the settings name."""
    origins = app.config["EZSTEMS_CORS_ORIGINS"]
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = bool(origins)
    for endpoint in (upload, status, download, keys):
        app.register_blueprint(endpoint.blueprint, url_prefix=PREFIX)
        csrf.exempt(endpoint.blueprint)
    if origins:
        app.before_request(partial(_refuse_options, {origin.lower() for origin in origins}))
        exposed = ["Content-Disposition", "X-Request-ID", "Retry-After", "Preference-Applied", "Idempotent-Replayed"]
        exposed += [f"X-RateLimit-{name}" for name in ("Limit", "Remaining", "Reset")]
        CORS(app, resources={r"/api/.*": {"origins": list(origins)}}, expose_headers=exposed)


def _refuse_options(origins: set[str]) -> None:
    # Flask would answer OPTIONS to everybody; it is there for the named origins' preflights alone.
    named = "*" in origins or request.headers.get("Origin", "").lower() in origins
    if request.method == "OPTIONS" and is_api() and request.url_rule is not None and not named:
        adapter = current_app.create_url_adapter(request)
        assert adapter is not None
        raise MethodNotAllowed([name for name in adapter.allowed_methods() if name != "OPTIONS"])
