"""Let a cluster have accidents again and again: `python -m tests.soak.cluster --rounds 100 --seed 1`.

The first rounds last as long as in life, the others a part of that; the last ones have RabbitMQ for a broker. Ends with
a table, and with 1 where something did not hold; with 77, and the reason, where this machine can have no such cluster.
"""

import argparse
import itertools
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.soak import hosts, songs
from tests.soak.accidents import ACCIDENTS
from tests.soak.box import Tally
from tests.soak.fleet import Fleet

CANNOT = 77
COUNTED = (
    *("accepted", "unanswered", "refused", "refused, yet there", "completed", "failed", "deleted", "ranges"),
    *("lost", "doubled", "stuck", "orphans"),
)


def main() -> int:
    """Play the rounds and print the table; Ctrl-C, or TERM, ends the rounds."""
    parser = argparse.ArgumentParser(prog="tests.soak.cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS") or "100"))
    parser.add_argument("--real", type=int, default=3, help="rounds whose seconds are those of life")
    parser.add_argument("--rabbitmq", type=int, default=10, help="rounds with RabbitMQ")
    parser.add_argument("--scale", type=float, default=0.1, help="what the other rounds' seconds are of those of life")
    parser.add_argument("--seed", default=os.environ.get("SEED") or str(int(time.time())))
    parser.add_argument("--kinds", default=",".join(ACCIDENTS), help="which accidents, in turn")
    options = parser.parse_args()
    if (why := hosts.hindrance()) is not None:
        print(why)
        return CANNOT
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    began, tallies = time.monotonic(), []
    redis = options.rounds - options.real - options.rabbitmq
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="soak-") as name:
        sent = songs.make(Path(name) / "songs")
        kinds = itertools.cycle(options.kinds.split(","))
        for part, scale, rabbitmq, rounds in (
            ("life", 1.0, False, options.real),
            ("short", options.scale, False, redis),
            ("rabbitmq", options.scale, True, options.rabbitmq),
        ):
            if rounds <= 0:
                continue
            try:
                with Fleet(Path(name) / part, sent, scale=scale, rabbitmq=rabbitmq) as fleet:
                    tallies.append((part, fleet.tally))
                    for number, kind in zip(range(rounds), kinds, strict=False):
                        play(fleet, kind, f"{options.seed}-{part}-{number}")
            except pytest.skip.Exception as error:
                print(error)
                return CANNOT
    for part, tally in tallies:
        print(table(f"{options.seed}, {part}", tally))
    print(f"{'seconds':34}{time.monotonic() - began:.0f}")
    return int(any(tally.faults for _, tally in tallies))


def play(fleet: Fleet, kind: str, seed: str) -> None:
    """Play a round and tell at once how it went."""
    began = time.monotonic()
    faults = fleet.play(kind, seed)
    told = "; ".join(faults) or "held"
    print(f"{seed}: {kind}, {time.monotonic() - began:.1f} s: {told}", flush=True)
    if faults and (folder := os.environ.get("SOAK_LOGS")):
        for name, box in fleet.boxes.items():
            Path(folder, f"{seed}-{name}.log").write_bytes(box.log.read_bytes())


def table(title: str, tally: Tally) -> str:
    """Return what was counted, a line each."""
    others = sorted(set(tally.counts) - set(COUNTED) - {"rounds", *ACCIDENTS})
    rows = [("seed", title), ("rounds", tally.counts["rounds"])]
    rows += [(name, tally.counts[name]) for name in (*ACCIDENTS, *others, *COUNTED)]
    rows += [("slowest stop, seconds", round(tally.slowest_stop_seconds, 1))]
    rows += [("slowest elsewhere, seconds", round(tally.slowest_elsewhere_seconds, 1))]
    rows += [("faults", len(tally.faults))]
    return "\n".join(["", *(f"{name:34}{value}" for name, value in rows), *tally.faults])


if __name__ == "__main__":
    sys.exit(main())
