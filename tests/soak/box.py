"""A server that is killed round after round, and what must hold after each."""

import shutil
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType

from tests.soak import checks
from tests.soak.kills import KILLED, kill
from tests.soak.slips import OUTAGE, SLIPS, with_clock
from tests.soak.songs import Song
from tests.soak.traffic import Traffic, Upload
from tests.support.callers import Caller
from tests.support.servers import Server
from tests.support.sessions import enter

STOP = "a stop"
KINDS = (*KILLED, STOP, *SLIPS)
EMAIL = "someone@example.com"
SETTLE_SECONDS = 180.0
KEPT = 6  # finished jobs that later rounds download


@dataclass
class Tally:
    """Count what the rounds saw; `faults` is empty where all held."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_stop_seconds: float = 0.0
    slowest_elsewhere_seconds: float = 0.0  # until a dead box's job ran on another


class Box:
    """Hold a server, its account, and the uploads that have not gone yet."""

    def __init__(
        self, folder: Path, songs: list[Song], app: str = "tests.soak.app:app", *, uploads: int = 8, **settings: object
    ) -> None:
        """Make an account; a round has so many uploads."""
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        instance = folder / "instance"
        defaults = {"account_jobs": 100_000, "TMPDIR": self.temporary} | with_clock(folder)
        self.server = Server(instance, app, **(defaults | settings))
        self.caller = Caller(self.server, self.server.key(EMAIL))
        self._songs = songs
        self._uploads = uploads
        self._finished: list[Upload] = []
        self._stack = ExitStack()

    def __enter__(self) -> "Box":
        self._stack.enter_context(self.server)
        self._session = self._stack.enter_context(enter(self.server.url, EMAIL))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def play(self, kind: str, seed: str, tally: Tally) -> None:
        """Play a round: traffic, a kill or a slip in its midst, a restart where all is down, and every check."""
        random, server, logged = Random(seed), self.server, self.server.log.stat().st_size
        with Traffic(self.caller, self._session, self._songs, self._finished, seed, self._uploads) as traffic:
            deadline = time.monotonic() + random.uniform(0.3, 1.5)
            while time.monotonic() < deadline or not any(upload.job_id for upload in traffic.uploads):
                assert time.monotonic() < deadline + 60, "nothing was accepted"
                time.sleep(0.01)
            traffic.outage = kind == OUTAGE
            faults = self._trouble(kind, random, traffic, tally)
            time.sleep(random.uniform(0, 0.3))
            server.hold()
        if not server.running:
            server.start()
        faults += checks.places(self.caller)
        server.release()
        faults += self._settle()
        log = server.log.read_bytes()[logged:].decode()
        faults += checks.outcomes(self.caller, traffic.uploads, kind, log, tally.counts, self.temporary)
        faults += traffic.faults
        answered = [upload for upload in traffic.uploads if upload.job_id and not upload.deleted]
        self._finished += [upload for upload in answered if self._is_completed(upload)]
        self._forget()
        faults += checks.folders(server, self.temporary)
        tally.counts["rounds"] += 1
        tally.counts[kind] += 1
        tally.counts["ranges"] += traffic.ranges
        tally.faults += [f"{seed}: {fault}" for fault in faults]

    def _trouble(self, kind: str, random: Random, traffic: Traffic, tally: Tally) -> list[str]:
        """Do to the server what the round is about; return what didn't hold right then."""
        if kind == STOP:
            return self._stop(tally)
        if kind in SLIPS:
            return [f"{kind}: {fault}" for fault in SLIPS[kind](self.server, random)]
        tried = 0
        while not kill(self.server, kind, random):
            assert (tried := tried + 1) < 6000, "nothing to kill"
            if tried % 100 == 0:  # all that were sent may have ended
                traffic.most += 1
            time.sleep(0.01)
        return []

    def _stop(self, tally: Tally) -> list[str]:
        seconds = self.server.stop()
        tally.slowest_stop_seconds = max(tally.slowest_stop_seconds, seconds)
        return checks.stopped(self.server, seconds)

    def _is_completed(self, upload: Upload) -> bool:
        return bool(self.server.rows("SELECT 1 FROM jobs WHERE id = ? AND status = 'completed'", upload.job_id))

    def _settle(self) -> list[str]:
        """Wait until every job has ended; return those that don't."""
        deadline = time.monotonic() + SETTLE_SECONDS
        unfinished = "SELECT id, status FROM jobs WHERE status IN ('queued', 'processing')"
        while rows := self.server.rows(unfinished):
            if time.monotonic() > deadline:
                return [f"stuck: {row['id']} is {row['status']}" for row in rows]
            time.sleep(0.05)
        return []

    def _forget(self) -> None:
        """Delete all but the latest finished jobs, as their account does."""
        while len(self._finished) > KEPT:
            job_id = self._finished.pop(0).job_id
            answer = self._session.post(
                f"{self.server.url}/songs/{job_id}/delete", headers={"Accept": "application/json"}, timeout=60
            )
            assert answer.status_code == 200, answer.text
        shutil.rmtree(self.temporary / "stems", ignore_errors=True)
