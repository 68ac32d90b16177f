"""Two processes that send the same rows, killed at any moment: nothing is lost, and little is sent twice."""

from pathlib import Path

from tests.benchmarks import webhooks


def test_nothing_is_lost_and_little_is_doubled(tmp_path: Path) -> None:
    result = webhooks.run(tmp_path / "instance", count=200, kills=1)
    result.check()
    assert result.requests > result.count, "some of the receivers were bad"
