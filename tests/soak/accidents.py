"""What befalls a cluster; each accident returns what didn't hold right then, and leaves all boxes running."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.soak.fleet import Fleet

STOP_SECONDS = 10.0


def kill_worker(fleet: "Fleet", random: Random) -> list[str]:
    """Kill a separation box in the midst of a job; the job runs elsewhere before the box is back."""
    box = fleet.busy(random)
    owners = fleet.owners(box)
    box.kill()
    began_seconds = time.monotonic()
    faults = fleet.elsewhere(fleet.running(owners), began_seconds)
    faults += fleet.wait(
        lambda: all(fleet.health(web).get("workers") == len(owners) for web in fleet.webs),
        "the other box's processes alone in /health",
    )
    fleet.start(_name(fleet, box))
    return faults


def kill_child(fleet: "Fleet", random: Random) -> list[str]:
    """Kill one process of a separation box in the midst of a job."""
    running = fleet.running(fleet.owners(fleet.busy(random)))
    while not running:
        running = fleet.running(fleet.owners(fleet.busy(random)))
    job = random.choice(running)
    for row in fleet.rows("SELECT pid FROM workers WHERE id = ?", job["owner"]):
        with suppress(ProcessLookupError):
            os.kill(row["pid"], signal.SIGKILL)
    began_seconds = time.monotonic()
    return fleet.elsewhere(fleet.running([job["owner"]]), began_seconds)


def kill_web(fleet: "Fleet", random: Random) -> list[str]:
    """Kill a web box in the midst of an upload."""
    assert fleet.traffic is not None
    for tried in range(1, 12_000):
        if found := [web for web in fleet.webs if any((web.instance / "scratch").glob("*/*.upload"))]:
            break
        if tried % 200 == 0:
            fleet.traffic.most += 1
        time.sleep(0.005)
    else:
        raise AssertionError("no upload ever came in")
    web = random.choice(found)
    web.kill()
    time.sleep(random.uniform(0, 2))
    fleet.start(_name(fleet, web))
    return []


def kill_broker(fleet: "Fleet", random: Random) -> list[str]:
    """Kill the broker, which comes back empty, once both web boxes have noticed."""
    with fleet.down("broker"):
        fleet.traffic.most += 2  # type: ignore[union-attr]
        faults = fleet.wait(
            lambda: all("Accepted jobs wait" in str(fleet.health(web).get("problems")) for web in fleet.webs),
            "a broker that is away in /health",
        )
        time.sleep(random.uniform(0, fleet.outage_seconds / 2))
    return faults


def kill_database(fleet: "Fleet", random: Random) -> list[str]:
    """Kill the database, and start it once both web boxes have noticed."""
    with fleet.down("database"):
        faults = _both_say(fleet, "no database")
        time.sleep(random.uniform(0, fleet.outage_seconds / 2))
    return faults


def kill_store(fleet: "Fleet", random: Random) -> list[str]:
    """Kill the store for as long as an outage lasts."""
    with fleet.down("store"):
        until_seconds = time.monotonic() + fleet.outage_seconds
        faults = _both_say(fleet, "full")
        time.sleep(max(0.0, until_seconds - time.monotonic()))
    return faults


def cut(fleet: "Fleet", random: Random) -> list[str]:
    """Cut the network between two hosts that talk to each other."""
    one, other = fleet.pair(random)
    fleet.tally.counts[f"cut between {one.name} and {other.name}"] += 1
    with fleet.network.cut(one, other):
        time.sleep(fleet.outage_seconds)
    return []


def unplug(fleet: "Fleet", random: Random) -> list[str]:
    """Pull a host's cable."""
    host = random.choice(list(fleet.hosts.values()))
    fleet.tally.counts[f"unplugged {host.name}"] += 1
    with fleet.network.unplugged(host):
        time.sleep(fleet.outage_seconds)
    return []


def take_for_dead(fleet: "Fleet", random: Random) -> list[str]:
    """Pull a separation box's cable for so long that its jobs run elsewhere, then let it speak again."""
    box = fleet.busy(random)
    owners = fleet.owners(box)
    with fleet.network.unplugged(fleet.hosts[_name(fleet, box)]):
        began_seconds = time.monotonic()
        time.sleep(fleet.outage_seconds / 10)  # what it committed before has arrived
        return fleet.elsewhere(fleet.running(owners), began_seconds)


def stop_worker(fleet: "Fleet", random: Random) -> list[str]:
    """Ask a separation box in the midst of a job for an orderly end; nobody is blamed."""
    box = fleet.busy(random)
    owners = fleet.owners(box)
    before = {row["id"]: row["crashes"] for row in fleet.running(owners)}
    seconds = box.stop()
    fleet.tally.slowest_stop_seconds = max(fleet.tally.slowest_stop_seconds, seconds)
    faults = [f"{row['id']} is run still by who has ended" for row in fleet.running(owners)]
    now = fleet.rows("SELECT id, crashes FROM jobs WHERE id = ANY(?)", list(before))
    faults += [f"{row['id']} was blamed for a stop" for row in now if row["crashes"] > before[row["id"]]]
    if seconds >= STOP_SECONDS or box.process.returncode:  # type: ignore[union-attr]
        faults.append(f"the stop took {seconds:.1f} s, and ended with {box.process.returncode}")  # type: ignore[union-attr]
    fleet.start(_name(fleet, box))
    return faults


STOP, BROKER = "a worker's TERM", "the broker killed"
ACCIDENTS: dict[str, Callable[["Fleet", Random], list[str]]] = {
    "a separation box killed": kill_worker,
    "the store away": kill_store,
    "a cut": cut,
    "a web box killed": kill_web,
    "the database killed": kill_database,
    BROKER: kill_broker,
    "a child killed": kill_child,
    "a box taken for dead": take_for_dead,
    STOP: stop_worker,
    "a cable pulled": unplug,
}
# Accidents that leave nothing behind in the store.
CLEAN = (STOP, BROKER)


def _both_say(fleet: "Fleet", status: str) -> list[str]:
    told: list[object] = []

    def say() -> bool:
        told[:] = [fleet.health(web) for web in fleet.webs]
        return all(isinstance(each, dict) and each.get("status") == status for each in told)

    found = fleet.wait(say, f"both web boxes say {status!r}")
    return [f"{found[0]}: {told}"] if found else []


def _name(fleet: "Fleet", box: object) -> str:
    return next(name for name, each in fleet.boxes.items() if each is box)
