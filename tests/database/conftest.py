"""Every instance of these tests keeps its rows in PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests.support import databases
from tests.support.databases import PostgresDatabases


@pytest.fixture(autouse=True)
def _on_postgresql(postgres_databases: PostgresDatabases) -> Iterator[None]:
    with databases.on_postgresql(postgres_databases):
        yield
