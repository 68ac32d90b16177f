"""The same cluster over a real RabbitMQ: what differs from Redis is how tickets are held, lost and counted."""

from collections.abc import Iterator

import pytest

from tests.support.backends import Postgres, RabbitMQ
from tests.support.clusters import Boxes, Cluster

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="module")
def boxes(
    broker: RabbitMQ, postgres: Postgres, song: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Boxes]:
    with Cluster(tmp_path_factory.mktemp("cluster"), postgres, broker.url) as cluster:
        yield Boxes(cluster, song, webs=1, workers=1)


def test_jobs_run_also_those_whose_tickets_are_lost(boxes: Boxes) -> None:
    boxes.fill()
    jobs = [boxes.me.upload() for _ in range(3)]
    boxes.cluster.wait(lambda: boxes.ready() >= 3)
    boxes.purge()
    boxes.cluster.wait(lambda: boxes.ready() >= 3)
    boxes.empty()
    logs = boxes.cluster.logs()
    assert [logs.count(f"job {job}: started") for job in jobs] == [1, 1, 1]


def test_a_broker_that_dies_comes_back(boxes: Boxes, broker: RabbitMQ) -> None:
    running = boxes.fill()
    broker.kill()
    late = boxes.me.upload()  # no request waits for the broker
    boxes.webs[0].logged("no tickets are sent now")
    broker.start()
    boxes.cluster.release()
    assert [boxes.end(job)["status"] for job in [*running, late]] == ["completed"] * 3
    assert boxes.end(boxes.me.upload())["status"] == "completed"
