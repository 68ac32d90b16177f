"""What the website's tests share."""

import pytest
from flask.testing import FlaskClient

from tests.conftest import Account
from tests.support.sessions import log_in


@pytest.fixture
def session(client: FlaskClient, account: Account) -> FlaskClient:
    """Return the client, logged in."""
    assert log_in(client, account.email).status_code == 302
    return client
