"""How the boxes of a cluster start and end: refusals in one line, time limits, and what a web box doesn't load."""

from collections.abc import Iterator

import pytest

from tests.support.backends import Postgres, Redis
from tests.support.clusters import DEAF, Caller, Cluster

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster(
    postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), postgres, redis.new_url()) as cluster:
        yield cluster


def test_a_broker_out_of_reach_is_refused(cluster: Cluster) -> None:
    nowhere = "redis://:secret@127.0.0.1:1/0"
    for box in (cluster.web(broker_url=nowhere), cluster.worker(broker_url=nowhere)):
        refused = box.refuse()
        assert refused.returncode == 1 and "Traceback" not in refused.stderr
        (line,) = [line for line in refused.stderr.splitlines() if line.startswith("ezstems:")]
        assert line.startswith("ezstems: EZSTEMS_BROKER_URL=redis://:**@127.0.0.1:1/0 must be a broker in reach: ")
        assert "secret" not in line


def test_a_worker_needs_a_cluster(cluster: Cluster) -> None:
    box = cluster.worker()
    for name in ("EZSTEMS_BROKER_URL", "EZSTEMS_STORAGE_URL"):
        del box.environ[name]
    refused = box.refuse()
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1] == (
        "ezstems: `ezstems worker` needs EZSTEMS_BROKER_URL: without it, `ezstems serve` separates"
    )


def test_limits_of_time(cluster: Cluster, song: bytes) -> None:
    """The soft one ends what heeds it; a process that heeds none is ended by a stop, and its job waits again."""
    web = cluster.web(model="official")  # a web box needs no weights
    web.start()
    worker = cluster.worker(job_seconds=1, separations=2, FAST_DEAF=DEAF, FAST_DEAF_SECONDS=60)
    worker.start()
    me = Caller(web, web.key(), song)
    cluster.hold()
    job, deaf = me.upload(), me.upload(stems=DEAF)
    cluster.wait(lambda: me.status(job)["status"] == "failed")
    assert me.status(job)["error"].startswith("The separation took longer than the server lets a job run")
    cluster.wait((cluster.instance / "deaf").exists)
    assert worker.stop() < 20
    (row,) = cluster.rows("SELECT status, crashes FROM jobs WHERE id = %s", deaf)
    assert (row["status"], row["crashes"]) == ("queued", 0)
    assert not cluster.rows("SELECT * FROM workers")
