"""A cluster's settings: all of them or none, and never a part that falls back to this box alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ezstems import cluster, configured
from ezstems.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent
BROKER, POSTGRES = "redis://127.0.0.1:1/0", "postgresql+psycopg://someone@127.0.0.1:1/songs"


def test_a_broker_without_postgresql_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured({"EZSTEMS_INSTANCE": tmp_path, "EZSTEMS_BROKER_URL": BROKER})
    rule = "EZSTEMS_BROKER_URL needs EZSTEMS_DATABASE_URL to name a PostgreSQL, which all boxes share, not sqlite"
    assert str(caught.value) == rule


@pytest.mark.parametrize(
    ("broker", "store", "rule"),
    [
        (BROKER, None, "EZSTEMS_BROKER_URL needs EZSTEMS_STORAGE_URL, too: the boxes share no folder"),
        (None, "s3://a", "EZSTEMS_STORAGE_URL needs EZSTEMS_BROKER_URL, too: one box alone keeps its files in its own "
         "folder"),
    ],
)  # fmt: skip
def test_a_broker_and_a_store_need_each_other(
    tmp_path: Path, broker: str | None, store: str | None, rule: str
) -> None:
    whole = dict(configured({"EZSTEMS_INSTANCE": tmp_path, "EZSTEMS_DATABASE_URL": POSTGRES}).config)
    cluster.require_whole(whole | {"EZSTEMS_BROKER_URL": BROKER, "EZSTEMS_STORAGE_URL": "s3://a"})
    cluster.require_whole(whole | {"EZSTEMS_BROKER_URL": None, "EZSTEMS_STORAGE_URL": None})
    with pytest.raises(ConfigurationError) as caught:
        cluster.require_whole(whole | {"EZSTEMS_BROKER_URL": broker, "EZSTEMS_STORAGE_URL": store})
    assert str(caught.value) == rule


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster.broker(BROKER) == BROKER
    monkeypatch.setattr(cluster, "LIBRARIES", ("celery", "nothing_of_this_name"))
    with pytest.raises(ValueError, match="needs what isn't installed here: pip install"):
        cluster.broker(BROKER)


def test_one_box_loads_nothing_of_a_cluster(tmp_path: Path) -> None:
    of_a_cluster = {"celery", "kombu", "billiard", "amqp", "redis", "obstore", "psycopg"}
    code = f"import sys, ezstems; ezstems.create_app(); print(sorted(sys.modules.keys() & {of_a_cluster}))"
    environ = os.environ | {"EZSTEMS_INSTANCE": str(tmp_path / "instance"), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
