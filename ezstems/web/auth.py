"""Who is calling, and may they: API keys with their rate limit, and the website's session."""

import re
from collections.abc import Callable
from datetime import timedelta, timezone
from functools import wraps
from typing import Any

from flask import Flask, Request, Response, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, current_user, login_user, logout_user
from flask_wtf import CSRFProtect
from flask_wtf.csrf import CSRFError
from itsdangerous import BadSignature

from ezstems.errors import BadInput, RateLimited, Unauthenticated
from ezstems.models import ApiKey, Session, User, count_call, utcnow
from ezstems.web.errors import wants_json

View = Callable[..., Response]

login_manager = LoginManager()
csrf = CSRFProtect()

# Where Flask-Login looks for who is calling: here not the account's number, but the token of a session's row.
_TOKEN = "_user_id"
_BEARER = re.compile(r"\s*bearer\s+(\S+)\s*", re.IGNORECASE)
NO_KEY = "Send your API key in the header: Authorization: Bearer YOUR_API_KEY"
BAD_KEY = "The API key is unknown or deactivated. Make a new one on the website, or ask the server's operator."
OLD_PAGE = "The page may be older than your login: load it again, then repeat what you did."
NO_SESSION = "This call needs a login on the website; an API key is not enough."


class Sessions(SecureCookieSessionInterface):
    """Keep the session's token in a signed cookie, which goes over TLS alone once it came over TLS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Tell whether the present request came over TLS."""
        return request.is_secure

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Read the cookie whatever its age: the session's row says how long it is good, and a clock may go back."""
        serializer = self.get_signing_serializer(app)
        assert serializer is not None
        try:
            return self.session_class(serializer.loads(request.cookies.get(self.get_cookie_name(app), "")))
        except BadSignature:
            return self.session_class()


def init_app(app: Flask) -> None:
    """Set up sessions, CSRF tokens and the rate limit's headers."""
    app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax", WTF_CSRF_SSL_STRICT=False)
    # A page may stay open for hours while songs are separated: its token lives as long as its session.
    app.config.update(WTF_CSRF_TIME_LIMIT=None, WTF_CSRF_CHECK_DEFAULT=False)
    app.session_interface = Sessions()
    login_manager.init_app(app)
    login_manager.session_protection = None  # it tells fresh logins from others, which nothing here does
    login_manager.user_loader(User.of_session)
    login_manager.unauthorized_handler(_ask_to_log_in)
    csrf.init_app(app)

    @app.before_request
    def check_token() -> None:
        try:
            csrf.protect(apply_exemptions=True)
        except CSRFError as error:
            raise BadInput(f"{error.description} {OLD_PAGE}") from error

    @app.after_request
    def rate_headers(response: Response) -> Response:
        response.headers.update(g.get("rate_headers", {}))
        return response


def begin_session(user: User) -> bool:
    """Log an account in, unless its password was changed meanwhile.

    Nothing of a session that somebody else may have planted survives it, nor the browser's former login.
    """
    end_session()
    token = user.begin_session()
    if token is None:
        return False
    login_user(user)
    session[_TOKEN] = token
    return True


def end_session() -> None:
    """Log out: the cookie is good for nothing any more, wherever a copy of it may be."""
    if token := session.get(_TOKEN):
        Session.end(token)
    logout_user()
    session.clear()


def _ask_to_log_in() -> ResponseReturnValue:
    if wants_json():
        raise Unauthenticated(NO_SESSION)
    # Back to a page only: what a form was sent to can't be looked at.
    here = request.full_path.removesuffix("?") if request.method in ("GET", "HEAD") else None
    return redirect(url_for("login.login", next=here))


def key_required(view: View) -> View:
    """Let a call in whose Bearer key is valid and within its rate limit; leave its row in `g.key`, `g.user`."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Response:
        authenticate_key()
        return view(*args, **kwargs)

    return guarded


def authenticate_key() -> None:
    """Identify the caller by its key and count the call."""
    match = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    if match is None:
        raise Unauthenticated(NO_KEY)
    key = ApiKey.find(match[1])
    if key is None:
        raise Unauthenticated(BAD_KEY)
    default, window = current_app.config["EZSTEMS_RATE_LIMIT"], current_app.config["EZSTEMS_RATE_WINDOW_SECONDS"]
    made = count_call(key, default, window)
    if made is None:
        raise Unauthenticated(BAD_KEY)
    limit = key.limit(default)
    reset = made.started_at + timedelta(seconds=window)
    g.rate_headers = {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(max(0, limit - made.calls)),
        "X-RateLimit-Reset": str(int(reset.replace(tzinfo=timezone.utc).timestamp())),
    }
    g.key, g.user, g.is_rate_limited = key, key.user, not made.counted
    if not made.counted:
        wait = min(window, max(1, int((reset - utcnow()).total_seconds())))
        raise RateLimited(f"The key's {limit} calls in {window} seconds are used up. Try again in {wait} s.", wait)


def authenticate_session() -> None:
    """Identify the caller by the website's session; a call that changes something needs its CSRF token too."""
    if not current_user.is_authenticated:
        raise Unauthenticated(NO_SESSION)
    try:
        csrf.protect()
    except CSRFError as error:
        raise BadInput(f"{error.description} Send the page's token as the header X-CSRFToken.") from error
    g.user = current_user


def authenticate() -> None:
    """Identify the caller by its key if it sends one or has no session, by its session otherwise."""
    if request.headers.get("Authorization", "").strip() or not current_user.is_authenticated:
        authenticate_key()
    else:
        authenticate_session()
