"""A visitor's way into the website: the CSRF token of a page, and the login."""

import re
from collections.abc import Mapping

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import PASSWORD


def token(client: FlaskClient, page: str = "/login") -> str:
    """Return the CSRF token of a page, as its scripts find it."""
    return re.search(r'<meta name="csrf-token" content="([^"]+)">', client.get(page).text)[1]


def log_in(
    client: FlaskClient, email: str, password: str = PASSWORD, query: Mapping[str, str] | None = None, **fields: str
) -> TestResponse:
    """Send the login's form; `fields` replace what it holds."""
    data = {"email": email, "password": password, "csrf_token": token(client)} | fields
    return client.post("/login", data=data, query_string=query)
