"""What a cluster's parts have used: CPU, database statements and log, the broker's messages, the store's requests."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import requests

from tests.benchmarks.machine import memory_mb
from tests.support.backends import ObjectStore, Postgres, Redis
from tests.support.backends.backend import Backend
from tests.support.servers import Server

TICKS = os.sysconf("SC_CLK_TCK")
STATEMENTS = {"reads": "^SELECT", "writes": "^(INSERT|UPDATE|DELETE)", "commits": "^COMMIT"}
COUNTED = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "on"}


class CountedStore(ObjectStore):
    """Run an S3 store that counts its requests."""

    PORTS = ObjectStore.PORTS + 1

    def arguments(self) -> list[str]:
        """Return the program, and where it tells of its counts."""
        return [*super().arguments(), f"-metricsPort={self.ports[-1]}", "-metricsIp=127.0.0.1"]

    def counts(self) -> Counter[str]:
        """Return how many requests of a kind came, and how many bytes."""
        text, found = requests.get(f"http://127.0.0.1:{self.ports[-1]}/metrics", timeout=10).text, Counter[str]()
        for kind, count in re.findall(r'^SeaweedFS_s3_request_total\{.*type="(\w+)"\} (\S+)$', text, re.MULTILINE):
            found[f"store {kind}"] += int(float(count))
        for way in ("received", "sent"):
            for count in re.findall(rf"^SeaweedFS_s3_bucket_traffic_{way}_bytes_total\{{.*\}} (\S+)$", text, re.M):
                found[f"store {way} bytes"] += int(float(count))
        return found


class Costs:
    """Count what the parts of a cluster have used since a beginning."""

    def __init__(self, postgres: Postgres, database: str, redis: Redis, store: CountedStore) -> None:
        self._postgres, self._database, self._redis, self._store = postgres, database, redis, store
        self._boxes: dict[str, Server | Backend] = {"postgres": postgres, "redis": redis, "store": store}
        postgres.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", database)

    def watch(self, name: str, box: Server) -> None:
        """Count a box, too."""
        self._boxes[name] = box

    def now(self) -> Counter[str]:
        """Return what was used up to now."""
        found = self._store.counts() + self._statements() + self._broker()
        for name, box in self._boxes.items():
            if box.running:
                found[f"{name} CPU ms"] = round(1000 * cpu_seconds(box.process.pid))
        return found

    def _statements(self) -> Counter[str]:
        found = Counter[str]()
        for name, pattern in STATEMENTS.items():
            mine = "dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
            query = f"SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE {mine} AND query ~ '{pattern}'"
            found[f"database {name}"] = int(str(self._postgres.execute(query, self._database)[0][0]))
        ((place,),) = self._postgres.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        found["database log bytes"] = int(str(place))
        return found

    def _broker(self) -> Counter[str]:
        import redis

        client = redis.Redis.from_url(self._redis.url)
        stats, commands = client.info("stats"), client.info("commandstats")
        client.close()
        return Counter(
            {
                "broker messages": commands.get("cmdstat_lpush", {}).get("calls", 0),
                "broker publishes": commands.get("cmdstat_publish", {}).get("calls", 0),
                "broker commands": stats["total_commands_processed"],
                "broker received bytes": stats["total_net_input_bytes"],
                "broker sent bytes": stats["total_net_output_bytes"],
            }
        )


def per(before: Mapping[str, int], after: Mapping[str, int], count: float) -> dict[str, float]:
    """Return what was used between two times, for each of so many."""
    return {name: (after[name] - before.get(name, 0)) / count for name in after if after[name] != before.get(name, 0)}


def tree(pid: int) -> Iterator[int]:
    """Yield a process and what descends from it."""
    yield pid
    with suppress(OSError):  # of a thread that ends
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, of those below it, and of those of them that have ended."""
    ticks = 0
    for each in tree(pid):
        with suppress(OSError):  # it has ended
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def peak_mb(pid: int, *, anew: bool = False) -> float:
    """Return the most memory that a process held, since the last look `anew`."""
    found = memory_mb("VmHWM", pid)
    if anew:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return found


