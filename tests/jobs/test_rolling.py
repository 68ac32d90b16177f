"""A cluster is upgraded box by box: boxes of this version and of the next share database, broker and store."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from ezstems import database
from tests.support.backends import Postgres, Redis
from tests.support.clusters import Caller, Cluster
from tests.support.servers import ROOT, Server

pytestmark = pytest.mark.timeout(300)

NEXT = "9999"
HEAD = ScriptDirectory(database.MIGRATIONS).get_current_head()
# It adds a table and a column, as a migration may while an older version runs, and renames nothing.
MIGRATION = f'''
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade() -> None:
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))
    op.add_column("jobs", sa.Column("later", sa.String(8), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "later")
    op.drop_table("later")
'''
TICKET = "args=(number,)"


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package as it may be next: a migration more, and tickets that say more."""
    folder = tmp_path_factory.mktemp("next")
    shutil.copytree(ROOT / "ezstems", folder / "ezstems", ignore=shutil.ignore_patterns("__pycache__", "docs"))
    (folder / "tests").symlink_to(ROOT / "tests")
    (folder / "ezstems" / "migrations" / "versions" / f"{NEXT}_later.py").write_text(MIGRATION)
    tickets = folder / "ezstems" / "jobs" / "tickets.py"
    text = tickets.read_text()
    assert text.count(TICKET) == 1
    tickets.write_text(text.replace(TICKET, 'args=(number, "more"), kwargs={"later": True}'))
    return folder


@pytest.fixture(scope="module")
def cluster(
    postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("rolling"), postgres, redis.new_url()) as cluster:
        yield cluster


def of(version: Path, box: Server) -> Server:
    """Have a box run a version."""
    box.cwd, box.environ["PYTHONPATH"] = version, str(version)
    return box


def test_boxes_are_upgraded_one_after_the_other(cluster: Cluster, next_version: Path, song: bytes) -> None:
    old_web, old_worker = cluster.web(), cluster.worker()
    old_web.start()
    old_worker.start()
    me = Caller(old_web, old_web.key(), song)

    def completes(job_id: str) -> None:
        cluster.wait(lambda: me.status(job_id)["status"] == "completed", 60)
        (row,) = cluster.rows("SELECT owner FROM jobs WHERE id = %s", job_id)
        assert row["owner"], cluster.logs()

    cluster.hold()
    running, waiting = me.upload(), me.upload()
    cluster.wait(lambda: cluster.separates(running))

    # A web box of the next version comes first, and migrates under what runs.
    new_web = of(next_version, cluster.web())
    new_web.start()
    assert cluster.rows("SELECT version_num FROM alembic_version") == [{"version_num": NEXT}]
    cluster.release()
    for job_id in (running, waiting, me.upload(), me.at(new_web).upload()):  # this one by a ticket that says more
        completes(job_id)
    assert "jobs waited without a ticket" not in cluster.logs()
    assert me.at(new_web).download(running) == me.download(running) == ["vocals.wav", "accompaniment.wav"]

    # What dies of the older boxes is replaced: they go on until they are stopped.
    (before,) = old_web.workers()
    os.kill(before, signal.SIGKILL)
    cluster.wait(lambda: old_web.workers() not in ([], [before]), 60)
    old_web.logged("was migrated by a newer version of EzStems; this server goes on until its end")
    completes(me.upload())
    (child,) = cluster.rows("SELECT pid FROM workers")
    os.kill(int(child["pid"]), signal.SIGKILL)
    completes(me.upload())
    assert old_web.running and old_worker.running

    # The next version's worker takes over, the older web box's tickets, too.
    new_worker = of(next_version, cluster.worker())
    new_worker.start()
    assert old_worker.stop() < 20
    completes(me.upload())

    # Stopped, an older box of either kind doesn't start again, and has changed nothing.
    old_web.stop()
    for box in (old_web, old_worker):
        refused = box.refuse()
        assert refused.returncode == 1 and "Traceback" not in refused.stderr
        (line,) = [line for line in refused.stderr.splitlines() if line.startswith("ezstems:")]
        assert line.startswith("ezstems: the database can't be migrated: it is of a newer version of EzStems")
    assert cluster.rows("SELECT version_num FROM alembic_version") == [{"version_num": NEXT}]
    me.box = new_web
    completes(me.upload())
