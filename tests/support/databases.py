"""Where a test's instance keeps its rows and files: in its folder, in a PostgreSQL's database, or in a whole cluster.

Each instance has a database, a numbered database of Redis and a prefix of the store of its own.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.backends import ObjectStore, Postgres, Redis


class PostgresDatabases:
    """Give each instance folder a database of its own on one server, a copy of one that was migrated once."""

    def __init__(self, server: Postgres, template: str) -> None:
        self.server = server
        self.template = template
        self._names: dict[Path, str] = {}

    def url_of(self, instance: Path) -> str:
        """Return the URL of an instance's database, which is made for whoever asks first."""
        if instance not in self._names:
            self._names[instance] = self.server.new_database(self.template)
        return self.server.url_of(self._names[instance])

    def settings_of(self, instance: Path) -> dict[str, str]:
        """Return the settings that name what an instance has here."""
        return {"EZSTEMS_DATABASE_URL": self.url_of(instance)}

    def drop(self, instance: Path) -> None:
        """Delete an instance's database, if it has one."""
        if name := self._names.pop(instance, None):
            self.server.drop(name)


class WholeClusters(PostgresDatabases):
    """Give each instance folder a broker and a store, too."""

    def __init__(self, server: Postgres, template: str, redis: Redis, store: ObjectStore) -> None:
        super().__init__(server, template)
        self._redis, self._store = redis, store
        self._shared: dict[Path, dict[str, str]] = {}

    def settings_of(self, instance: Path) -> dict[str, str]:
        """Return the settings that name what an instance has here."""
        if instance not in self._shared:
            urls = {"EZSTEMS_BROKER_URL": self._redis.new_url(), "EZSTEMS_STORAGE_URL": self._store.new_url()}
            self._shared[instance] = urls
        return super().settings_of(instance) | self._shared[instance]


_chosen: PostgresDatabases | None = None


@contextmanager
def on_postgresql(databases: PostgresDatabases) -> Iterator[None]:
    """Let instances that are made in the block keep their rows in PostgreSQL, or in clusters, whichever is given."""
    global _chosen
    before, _chosen = _chosen, databases
    try:
        yield
    finally:
        _chosen = before


def settings_of(instance: Path) -> dict[str, str]:
    """Return the settings that name what an instance has outside its folder: none on one box with SQLite's file."""
    return {} if _chosen is None else _chosen.settings_of(instance)


def drop(instance: Path) -> None:
    """Delete an instance's database where it isn't in the folder."""
    if _chosen is not None:
        _chosen.drop(instance)


def query(instance: Path, url: str | None, statement: str, *values: object) -> list[dict[str, Any]]:
    """Execute a statement, with `?` for each value, from outside the server; return its rows, if it has any."""
    if url is not None:
        import psycopg
        from psycopg.rows import dict_row

        address = url.replace("+psycopg", "")
        with psycopg.connect(address, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(instance / "ezstems.sqlite3", timeout=30)) as database, database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(statement, values)]


def is_free(instance: Path, url: str | None) -> bool:
    """Tell whether nobody writes to the database: no session of PostgreSQL's is in a transaction."""
    if url is not None:
        busy = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
        return not query(instance, url, f"{busy} AND pid <> pg_backend_pid()")
    with closing(sqlite3.connect(instance / "ezstems.sqlite3", timeout=0.2)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        database.rollback()
        return True
