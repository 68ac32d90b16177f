"""A PostgreSQL server of Debian's package, with databases made from templates."""

import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.backends.backend import LOOPBACK, Backend, program

# What nobody asks of a test's data: half the time of most tests.
CARELESS = {"fsync": "off", "full_page_writes": "off"}


class Postgres(Backend):
    """Run a PostgreSQL; `durable` has it write to the disk what it promises, for the tests that kill it."""

    def __init__(self, address: str = LOOPBACK, *, durable: bool = False, **settings: str) -> None:
        binaries = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
        self._initdb, self._postgres = program("initdb", *binaries[-1:]), program("postgres", *binaries[-1:])
        super().__init__(address)
        self.data = self.folder / "data"
        self.settings = {} if durable else CARELESS
        self.settings = self.settings | {"max_connections": "300", "shared_buffers": "64MB"} | settings

    @property
    def url(self) -> str:
        """Return SQLAlchemy's URL of the database that is there from the start."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://ezstems@{self.address}:{self.port}/{database}"

    def arguments(self) -> Sequence[str]:
        """Return the program and its arguments."""
        own = {"listen_addresses": self.address, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        return [
            self._postgres, "-D", str(self.data),
            *(part for name, value in (own | self.settings).items() for part in ("-c", f"{name}={value}")),
        ]  # fmt: skip

    def start(self) -> None:
        """Make its files at the first start; start."""
        if not self.data.exists():
            subprocess.run(
                [self._initdb, "-D", self.data, "-U", "ezstems", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
                check=True,
                capture_output=True,
                cwd=self.folder,
                **self.as_user,
            )
            with (self.data / "pg_hba.conf").open("a") as access:  # the others beside loopback, if any
                access.write("host all all samenet trust\n")
        super().start()

    def stop(self) -> None:
        """End at once in an orderly way, whoever is connected: what PostgreSQL calls fast."""
        if self.process is not None:
            self.process.send_signal(2)
            self.process.wait(30)

    def is_ready(self) -> bool:
        """Tell whether it answers a query."""
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute a statement outside a transaction; return its rows."""
        import psycopg

        address = f"host={self.address} port={self.port} user=ezstems dbname={database} connect_timeout=30"
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template1") -> str:
        """Make a database, as its template is; return its name."""
        name = f"test_{secrets.token_hex(8)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        """Delete a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
