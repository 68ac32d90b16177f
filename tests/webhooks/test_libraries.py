"""What receivers use: the public library, of npm here; that of PyPI verifies in all other tests."""

import json
from collections.abc import Callable

from flask import Flask

from ezstems.models import Job, Webhook
from tests.clients import programs
from tests.conftest import Account
from tests.support.receivers import Receiver


def test_the_library_of_npm_verifies_it_before_and_after_a_rotation(
    app: Flask, account: Account, done: Callable[..., Job], secret: str
) -> None:
    with Receiver() as receiver:
        done(webhook_url=receiver.url)
        with app.app_context():
            Webhook.rotate(account.user_id)
        done(webhook_url=receiver.url)
        requests = receiver.until(2)
    for request in requests:
        headers = {name: value for name, value in request.headers.items() if name.startswith("webhook-")}
        told = {"SECRET": secret, "HEADERS": json.dumps(headers), "BODY": request.body.decode()}
        assert json.loads(programs.run("webhook.js", programs.HERE, **told)) == json.loads(request.body)
