"""Settings that make no cluster, or name what is not there: either kind of box refuses them, and writes nothing."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ezstems import create_app
from ezstems.database import db
from tests.support.backends import ObjectStore, Postgres, Redis
from tests.support.forks import FORKS

SECRET = "hidden-secret"
CLOSED = "127.0.0.1:1"  # nobody listens there
# What is set in place of the right settings, None for what isn't; which setting is named, and the rule.
WRONG: dict[str, tuple[dict[str, str | None], str, str]] = {
    "no database server": ({"EZSTEMS_DATABASE_URL": None}, "EZSTEMS_BROKER_URL", "to name a PostgreSQL"),
    "SQLite": ({"EZSTEMS_DATABASE_URL": "sqlite:////nowhere/a.sqlite3"}, "EZSTEMS_BROKER_URL", "to name a PostgreSQL"),
    "no store": ({"EZSTEMS_STORAGE_URL": None}, "EZSTEMS_BROKER_URL", "needs EZSTEMS_STORAGE_URL, too"),
    "no broker": ({"EZSTEMS_BROKER_URL": None}, "EZSTEMS_STORAGE_URL", "needs EZSTEMS_BROKER_URL, too"),
    "no kind of broker": ({"EZSTEMS_BROKER_URL": "sqs://x"}, "EZSTEMS_BROKER_URL", "must be the URL of a broker"),
    "no kind of store": ({"EZSTEMS_STORAGE_URL": "ftp://x"}, "EZSTEMS_STORAGE_URL", "must be s3://BUCKET/PREFIX"),
    "no kind of database": ({"EZSTEMS_DATABASE_URL": "oracle://x"}, "EZSTEMS_DATABASE_URL", "must"),
    "broker away": ({"EZSTEMS_BROKER_URL": f"redis://:{SECRET}@{CLOSED}/0"}, "EZSTEMS_BROKER_URL", "a broker in reach"),
    "RabbitMQ away": ({"EZSTEMS_BROKER_URL": f"amqp://me:{SECRET}@{CLOSED}//"}, "EZSTEMS_BROKER_URL",
                      "a broker in reach"),
    "store away": ({"AWS_ENDPOINT_URL": f"http://{CLOSED}"}, "EZSTEMS_STORAGE_URL", "it can't be reached or used"),
    "database away": ({"EZSTEMS_DATABASE_URL": f"postgresql+psycopg://me:{SECRET}@{CLOSED}/songs"},
                      "the database postgresql+psycopg://me:***@", "can't be opened"),
    "no such database": ({"EZSTEMS_DATABASE_URL": "{postgres}/no_such"}, "the database", "does not exist"),
    "wrong credentials": ({"AWS_SECRET_ACCESS_KEY": SECRET}, "EZSTEMS_STORAGE_URL", "it refuses the credentials"),
    "no credentials": ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "EZSTEMS_STORAGE_URL",
                       "credentials"),
    "no such bucket": ({"EZSTEMS_STORAGE_URL": "s3://no-such-bucket/x"}, "EZSTEMS_STORAGE_URL", "no such bucket"),
    "another's database": ({"EZSTEMS_DATABASE_URL": "{other}"}, "the database", "belongs to another instance"),
    "another's store": ({"EZSTEMS_STORAGE_URL": "{other_store}"}, "s3://", "belongs to another database"),
    "Celery isn't installed": ({"WITHOUT": "celery"}, "", "needs what isn't installed here"),
    "obstore isn't installed": ({"WITHOUT": "obstore"}, "EZSTEMS_STORAGE_URL", "needs the extra `cluster`"),
    "psycopg isn't installed": ({"WITHOUT": "psycopg"}, "EZSTEMS_DATABASE_URL", "whose driver is installed"),
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Hold the right settings, the URLs that wrong ones are made of, and what is written nowhere."""

    folder: Path
    environ: dict[str, str]
    urls: dict[str, str]
    postgres: Postgres
    store: Any

    def written(self) -> tuple[Any, ...]:
        """Return all that is in the folder, the databases and the store."""
        tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        names = [url.rpartition("/")[2] for url in (self.environ["EZSTEMS_DATABASE_URL"], self.urls["other"])]
        ids = self.postgres.execute("SELECT id FROM instances", names[1])
        objects = sorted(found["path"] for batch in self.store.list() for found in batch)
        return sorted(self.folder.rglob("*")), [self.postgres.execute(tables, name) for name in names], ids, objects


@pytest.fixture(scope="module")
def place(
    postgres: Postgres, redis: Redis, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Return a cluster that hasn't started yet, beside another one that has."""
    folder = tmp_path_factory.mktemp("bad")
    environ, other = (
        {"EZSTEMS_DATABASE_URL": postgres.url_of(postgres.new_database()), "EZSTEMS_BROKER_URL": redis.new_url(),
         "EZSTEMS_STORAGE_URL": object_store.new_url()}
        for _ in range(2)
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_store.credentials.items():
            patch.setenv(name, value)
        app = create_app(other | {"EZSTEMS_INSTANCE": folder / "other", "SEPARATOR": object()})
        with app.app_context():
            db.engine.dispose()
    urls = {"postgres": postgres.url.rpartition("/")[0], "other": other["EZSTEMS_DATABASE_URL"],
            "other_store": other["EZSTEMS_STORAGE_URL"]}  # fmt: skip
    environ |= object_store.credentials | {"EZSTEMS_INSTANCE": str(folder / "new"), "PATH": os.environ["PATH"]}
    yield Place(folder, environ, urls, postgres, object_store.client())


def begin(command: str, environ: dict[str, str], said: str) -> None:
    """Be `ezstems serve`, or `worker`, in this process, which says what it says into a file."""
    os.environ.clear()
    os.environ.update(environ)
    file = os.open(said, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["ezstems", command]
    if without := environ.get("WITHOUT"):
        for name in [name for name in sys.modules if name.partition(".")[0] == without]:
            del sys.modules[name]
        sys.meta_path[:] = [Lacking(without, finder) for finder in sys.meta_path]
    from ezstems.cli import main

    main()


class Lacking:
    """Find what another finder does, except one library."""

    def __init__(self, name: str, finder: Any) -> None:
        self._name, self._finder = name, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, *place: Any) -> Any:
        return None if name.partition(".")[0] == self._name else self._finder.find_spec(name, *place)


@pytest.mark.parametrize("wrong", WRONG)
def test_it_is_refused_in_one_line_and_nothing_is_written(place: Place, tmp_path: Path, wrong: str) -> None:
    change, named, rule = WRONG[wrong]
    values = {name: value if value is None else value.format(**place.urls) for name, value in change.items()}
    environ = {name: value for name, value in (place.environ | values).items() if value is not None}
    before = place.written()
    boxes = {}
    for command in ("serve", "worker"):
        boxes[command] = FORKS.Process(target=begin, args=(command, environ, str(tmp_path / command)))
        boxes[command].start()
    for command, box in boxes.items():
        box.join(60)
        said = (tmp_path / command).read_text()
        if box.exitcode is None:
            box.kill()
        assert box.exitcode == 1, (command, box.exitcode, said)
        (line,) = said.splitlines()
        assert line.startswith("ezstems: ") and named in line and rule in line and SECRET not in line, line
    assert place.written() == before
    assert multiprocessing.active_children() == []
