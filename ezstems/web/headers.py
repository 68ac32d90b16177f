"""What an answer tells browsers: what a page may load, who may frame it, and what must not be kept."""

from flask import Flask, Response

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",  # what changes tempo and key is WebAssembly
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
EVERY = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# Who comes after a logout, on the same computer or behind the same proxy, must not find an account's answers; files
# and audio say themselves how long they keep.
NEVER_STORED = ("text/html", "application/json")


def init_app(app: Flask) -> None:
    """Give every answer its headers; a view's own go before."""

    @app.after_request
    def add(response: Response) -> Response:
        headers = EVERY | (PAGE if response.mimetype == "text/html" else {})
        if response.mimetype in NEVER_STORED:
            headers = headers | {"Cache-Control": "no-store"}
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response
