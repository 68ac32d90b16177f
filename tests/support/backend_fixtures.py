"""Fixtures: real servers, one of a kind for a session, and in them a place of a test's own."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask_migrate import upgrade

from ezstems import cluster, configured
from ezstems.database import db
from tests.support.backends import ObjectStore, Postgres, RabbitMQ, Redis
from tests.support.databases import PostgresDatabases, WholeClusters


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


@pytest.fixture(scope="session")
def whole_clusters(
    postgres_databases: PostgresDatabases, redis: Redis, object_store: ObjectStore
) -> Iterator[WholeClusters]:
    """Return what gives instances clusters of their own, while the environment holds the store's credentials."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_store.credentials.items():
            patch.setenv(name, value)
        yield WholeClusters(postgres_databases.server, postgres_databases.template, redis, object_store)


@pytest.fixture
def backend() -> dict[str, Any]:
    """Return more settings of every app that a test makes; tests of the store have theirs here."""
    return {}


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test have a store without a broker, so that its own process separates."""
    monkeypatch.setattr(cluster, "require_whole", lambda _config: None)
