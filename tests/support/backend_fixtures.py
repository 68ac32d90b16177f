"""Fixtures: real servers, one of a kind for a session, and in them a place of a test's own."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.backends import ObjectStore, Postgres, RabbitMQ, Redis


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    with ObjectStore() as server:
        yield server


@pytest.fixture
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the settings of what the environment's BACKEND names: one box, or `cluster`: files in an object store."""
    if os.environ.get("BACKEND") != "cluster":
        return {}
    store = request.getfixturevalue("object_store")
    for name, value in store.credentials.items():
        monkeypatch.setenv(name, value)
    return {"EZSTEMS_STORAGE_URL": store.new_url()}
