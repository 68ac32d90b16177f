"""Kill a server in the midst of its work, or do what operators do, again and again: `python -m tests.soak --seed 1`.

The first half of the rounds has one worker process, the second two, with two separations each; the last ones of each
half run the real engine. Ends with a table, and with 1 where something did not hold.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.soak import songs
from tests.soak.box import KINDS, Box, Tally

SHARES, REAL = "tests.soak.app:app", "wsgi:app"
COUNTED = ("accepted", "unanswered", "refused", "completed", "failed", "deleted", "ranges", "lost", "doubled", "stuck")


def main() -> int:
    """Play the rounds and print the table; Ctrl-C ends the rounds."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "100")))
    parser.add_argument("--seed", default=os.environ.get("SEED", str(int(time.time()))))
    options = parser.parse_args()
    started, tally = time.monotonic(), Tally()
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="soak-") as name:
        sent = songs.make(Path(name) / "songs")
        for workers in (1, 2):
            half = (options.rounds + workers - 1) // 2
            real = min(len(KINDS), half // 3)
            for app, uploads, rounds in ((SHARES, 8, half - real), (REAL, 3, real)):
                folder = Path(name) / f"{workers}-{app.partition(':')[0]}"
                with Box(
                    folder, sent, app, uploads=uploads, workers=workers, separations=workers, previews="on"
                ) as box:
                    for number, kind in zip(range(rounds), itertools.cycle(KINDS), strict=False):
                        play(box, kind, f"{options.seed}-{workers}-{app.partition(':')[0]}-{number}", tally)
    print(table(options.seed, tally, time.monotonic() - started))
    return int(bool(tally.faults))


def play(box: Box, kind: str, seed: str, tally: Tally) -> None:
    """Play a round and tell at once how it went."""
    begun, before = time.monotonic(), len(tally.faults)
    box.play(kind, seed, tally)
    told = tally.faults[before:] or ["held"]
    print(f"{seed}: {kind}, {time.monotonic() - begun:.1f} s: {'; '.join(told)}", flush=True)


def table(seed: str, tally: Tally, seconds: float) -> str:
    """Return what was counted, a line each."""
    rows = [("seed", seed), ("rounds", tally.counts["rounds"])]
    rows += [(f"rounds of {kind}", tally.counts[kind]) for kind in KINDS]
    rows += [(counted, tally.counts[counted]) for counted in COUNTED]
    rows += [("slowest stop, seconds", round(tally.slowest_stop_seconds, 1))]
    rows += [("faults", len(tally.faults)), ("seconds", round(seconds))]
    return "\n".join(["", *(f"{name:30}{value}" for name, value in rows), *tally.faults])


if __name__ == "__main__":
    sys.exit(main())
