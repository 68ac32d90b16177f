"""A visitor's way into the website: the CSRF token of a page, and the login."""

import re
from collections.abc import Mapping

import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import PASSWORD


def token(client: FlaskClient, page: str = "/login") -> str:
    """Return the CSRF token of a page, as its scripts find it."""
    return token_in(client.get(page).text)


def log_in(
    client: FlaskClient, email: str, password: str = PASSWORD, query: Mapping[str, str] | None = None, **fields: str
) -> TestResponse:
    """Send the login's form; `fields` replace what it holds."""
    data = {"email": email, "password": password, "csrf_token": token(client)} | fields
    return client.post("/login", data=data, query_string=query)


def enter(url: str, email: str, page: str = "/login", verify: str | bool = True) -> requests.Session:
    """Log in at a real server, or register; return the session, its token among its headers."""
    session = requests.Session()
    session.trust_env, session.verify = False, verify  # what the environment trusts would go first
    data = {"email": email, "password": PASSWORD, "csrf_token": token_in(session.get(f"{url}{page}", timeout=60).text)}
    answer = session.post(f"{url}{page}", data=data, timeout=60)
    assert answer.ok and answer.history, answer.text
    # Whoever enters begins a session of their own.
    session.headers["X-CSRFToken"] = token_in(session.get(f"{url}/account", timeout=60).text)
    return session


def token_in(page: str) -> str:
    """Return the CSRF token in a page."""
    return re.search(r'<meta name="csrf-token" content="([^"]+)">', page)[1]
