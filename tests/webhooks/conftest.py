"""What the tests of deliveries share: an app that sends webhooks to this machine, and its deliveries."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from ezstems.database import db
from ezstems.models import Delivery, Webhook
from tests.conftest import Account


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(webhooks="on", webhook_hosts="127.0.0.1")


@pytest.fixture
def deliveries(app: Flask) -> Callable[[], list[Delivery]]:
    """Return how to read all deliveries, in their order."""

    def read() -> list[Delivery]:
        with app.app_context():
            return list(db.session.scalars(select(Delivery).order_by(Delivery.id)))

    return read


@pytest.fixture
def until(deliveries: Callable[[], list[Delivery]]) -> Callable[..., list[Delivery]]:
    """Return a waiter: for all deliveries to meet a condition; it returns them."""

    def wait(condition: Callable[[Delivery], bool], count: int = 1, seconds: float = 60.0) -> list[Delivery]:
        deadline = time.monotonic() + seconds
        while not (len(found := deliveries()) >= count and all(map(condition, found))):
            assert time.monotonic() < deadline, [(each.state, each.attempts, each.last_error) for each in found]
            time.sleep(0.02)
        return found

    return wait


@pytest.fixture
def secret(app: Flask, account: Account) -> str:
    with app.app_context():
        found = Webhook.of(account.user_id).secret
        db.session.commit()
        return found


@pytest.fixture
def change(app: Flask) -> Callable[..., None]:
    """Return how to change every row of a kind."""

    def update(kind: Any, **values: Any) -> None:
        with app.app_context():
            db.session.execute(db.update(kind).values(**values))
            db.session.commit()

    return update
