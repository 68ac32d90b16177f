"""By which name, and through which proxies, a request may come in: as configured, and not as a client says."""

import logging
import re

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from ezstems.errors import BadInput

log = logging.getLogger(__name__)

_FORWARDED = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host")
# Names of machines in private networks hold underscores, too, though no domain may.
_HOST = re.compile(r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


def init_app(app: Flask) -> None:
    """Look through the proxies, and refuse a `Host` that is malformed or not this server's."""
    proxies, trusted = app.config["EZSTEMS_PROXIES"], app.config["EZSTEMS_TRUSTED_HOSTS"]
    if proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]

    warned = bool(proxies)

    @app.before_request
    def warn() -> None:
        nonlocal warned
        if not warned and (sent := next((name for name in _FORWARDED if name in request.headers), None)):
            warned = True
            is_ignored = "%s is ignored, for EZSTEMS_PROXIES is 0: a proxy's clients are all one address, without TLS"
            log.warning(is_ignored, sent)

    @app.before_request
    def check_host() -> None:
        host = request.headers.get("Host", "")
        if not (host or trusted):
            # An HTTP/1.0 client, which knows an address alone; behind a Unix socket not even that is known here.
            request.host = request.host or "localhost"
            return
        parts = _HOST.fullmatch(host)
        if parts is None:
            raise BadInput(f"Host={host[:64]!r} must be a host name or an address, and a port if need be.")
        if trusted and not _is_one_of(parts["name"].lower().removesuffix("."), trusted):
            raise BadInput(f"Host={host[:64]!r} is no name of this server.")
        # Werkzeug takes a name with an underscore for no name at all.
        request.host = request.host or host


def _is_one_of(name: str, trusted: tuple[str, ...]) -> bool:
    return any(name == other.removeprefix(".") or (other[0] == "." and name.endswith(other)) for other in trusted)
