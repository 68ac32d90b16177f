"""Fixtures: real servers, one of a kind for a session, and in them a place of a test's own."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from flask_migrate import upgrade

from ezstems import cluster, configured
from ezstems.database import db
from tests.support.backends import ObjectStore, Postgres, RabbitMQ, Redis
from tests.support.databases import PostgresDatabases


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_databases(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> PostgresDatabases:
    """Return what gives instances their databases; the first is migrated, the others are its copies."""
    template = postgres.new_database()
    names = {"INSTANCE": tmp_path_factory.mktemp("template"), "DATABASE_URL": postgres.url_of(template)}
    app = configured({f"EZSTEMS_{name}": value for name, value in names.items()})
    with app.app_context():
        upgrade()
        db.engine.dispose()
    return PostgresDatabases(postgres, template)


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
    alone(monkeypatch)
    return {"EZSTEMS_STORAGE_URL": store.new_url()}


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test have a store without a broker, so that its own process separates."""
    monkeypatch.setattr(cluster, "require_whole", lambda _config: None)
