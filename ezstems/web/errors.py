"""The only mapping from an exception to an answer."""

import logging

from flask import Flask, Response, g, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import RequestRedirect

from ezstems import database, disk, errors
from ezstems.database_server import is_away
from ezstems.web import answers

log = logging.getLogger(__name__)

# The most particular class of the exception's ancestry decides.
TABLE: dict[type[Exception], tuple[int, str]] = {
    errors.UploadTooLarge: (400, "File too large"),
    errors.UnreadableAudio: (400, "Invalid audio file"),
    errors.NotReady: (400, "Stems not available"),
    errors.BadInput: (400, "Bad request"),
    errors.Unauthenticated: (401, "Unauthorized"),
    errors.RateLimited: (403, "Rate limit exceeded"),
    errors.TooManyAttempts: (429, "Too many attempts"),
    errors.UploadInFlight: (400, "Upload in progress"),
    errors.TooManyJobs: (403, "Too many jobs"),
    errors.NotFound: (404, "Not found"),
    errors.DatabaseLost: (500, "Internal server error"),
    errors.ServerBusy: (500, "Server busy"),
    errors.StorageAway: (500, "Storage unavailable"),
    errors.ServerFull: (500, "Server full"),
    errors.DamagedFile: (500, "Stems damaged or lost"),
    errors.DecodingFailed: (500, "Internal server error"),
}
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    500: "Internal server error",
}
MALFORMED = "The request is not valid HTTP, or its address or a header is too long."
NO_ENDPOINT = (
    "There is nothing here. The API's endpoints are upload.php, status.php, download.php, jobs.php and keys.php."
)
NO_PAGE = "There is no such page. Its address may be mistyped, or what it showed is gone."
NO_VISIT = "This address takes what a form or a button of a page sends; it has no page of its own."
BUSY, BUSY_RETRY_SECONDS = "The server's database is busy. Try again later.", 10
AWAY = "The server's database can't be reached. Try again later."
# A header that belongs to an error's meaning; any other a library may have set is left out.
KEPT_HEADERS = ("Allow", "Content-Range", "Retry-After", "WWW-Authenticate")


def init_app(app: Flask) -> None:
    """Answer every exception."""
    app.register_error_handler(errors.EzStemsError, _domain)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(SQLAlchemyError, _database)
    app.register_error_handler(Exception, _unknown)


def is_api() -> bool:
    """Tell whether the request is for the API, whose every answer is JSON."""
    return request.path == "/api" or request.path.startswith("/api/")


def wants_json() -> bool:
    """Tell whether the answer is to be JSON: every one of the API's, and any that a script prefers as JSON."""
    return is_api() or request.accept_mimetypes.best_match(("text/html", "application/json")) == "application/json"


def _domain(error: errors.EzStemsError) -> ResponseReturnValue:
    found = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), None)
    if found is None:
        return _unknown(error)
    response = _answer(*found, str(error))
    if isinstance(error, errors.TryLater):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.ServerFull):
        log.warning("refused: %s", error)
    return response


def _http(error: HTTPException) -> ResponseReturnValue:
    if isinstance(error, RequestRedirect):
        if not is_api():
            return error
        error = NotFound()
    status = error.code or 500
    # 416 answers a Range that the client itself sent; any other code the contract doesn't know becomes one it does.
    if is_api() and status not in (400, 401, 403, 404, 405, 416, 500):
        status = 400 if status < 500 else 500
    response = _answer(status, TITLES.get(status, error.name), _text(status, error))
    for name, value in error.get_headers():
        if name in KEPT_HEADERS:
            response.headers[name] = value
    return response


def _text(status: int, error: HTTPException) -> str:
    if status == 404:
        return NO_ENDPOINT if is_api() else NO_PAGE
    if status == 405 and not wants_json():
        return NO_VISIT
    if status == 405:
        allowed = sorted(getattr(error, "valid_methods", None) or ())
        return f"{request.method} is not allowed here; allowed: {', '.join(allowed)}."
    if status == 500:
        return _broken()
    return error.description or "The request is malformed."


def _database(error: SQLAlchemyError) -> ResponseReturnValue:
    if disk.is_full(error):
        return _domain(disk.full_error())
    if disk.is_unwritable(error):
        log.error("the database can't be written to: %s", error.orig if isinstance(error, OperationalError) else error)
        return _domain(disk.unwritable_error())
    if is_away(error):
        return _domain(errors.ServerBusy(AWAY, BUSY_RETRY_SECONDS))
    if database.is_busy(error):
        log.error("the database is busy: %s", error.orig if isinstance(error, OperationalError) else error)
        return _domain(errors.ServerBusy(BUSY, BUSY_RETRY_SECONDS))
    return _unknown(error)


def _unknown(error: Exception) -> ResponseReturnValue:
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return _answer(500, "Internal server error", _broken())


def _broken() -> str:
    return f"The server failed. Try again; if it happens again, tell its operator the request id {g.request_id}."


def _answer(status: int, title: str, text: str) -> Response:
    if wants_json():
        return answers.error(status, title, text)
    page = Response(render_template("error.html", title=title, text=text), mimetype="text/html")
    page.status_code = status
    return page
