"""The API under its literal PHP paths: one module an endpoint."""

from flask import Flask
from flask_cors import CORS

from ezstems.web.api import download, keys, status, upload
from ezstems.web.auth import csrf

PREFIX = "/api/v1"


def init_app(app: Flask) -> None:
    """Add the four endpoints, and CORS for the origins that the settings name."""
    origins = app.config["EZSTEMS_CORS_ORIGINS"]
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = bool(origins)
    for endpoint in (upload, status, download, keys):
        app.register_blueprint(endpoint.blueprint, url_prefix=PREFIX)
        csrf.exempt(endpoint.blueprint)
    if origins:
        exposed = ["Content-Disposition", "X-Request-ID", "Retry-After"]
        exposed += [f"X-RateLimit-{name}" for name in ("Limit", "Remaining", "Reset")]
        CORS(app, resources={r"/api/.*": {"origins": list(origins)}}, expose_headers=exposed)
