"""Thousands of webhooks to receivers that are well, slow, down or hostile, sent by processes that are killed meanwhile.

    .venv/bin/python -m tests.benchmarks.webhooks [--count 10000] [--kills 5] [--seed 1]

None may be lost, and of those that a receiver took twice there may be no more than were under way at the kills.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flask import Flask
from sqlalchemy import func, select

from ezstems import create_app
from ezstems.database import db
from ezstems.models import Delivery, User, Webhook
from ezstems.webhooks.sender import SEATS
from tests.support.receivers import Received, Receiver, answer, close, drip, endless, silence
from tests.support.servers import ROOT

LEASE_SECONDS, TRY_SECONDS = 4.0, 1.0
PROCESSES = 2
BAD = (answer(500), answer(302, "Location: /"), close, drip, silence, endless(b"HTTP/1.1 200 OK\r\nA: ", b"x" * 65536))
GOOD = answer(200)


@dataclass(frozen=True)
class Result:
    """Hold what came of a run."""

    count: int
    delivered: int
    requests: int
    taken_twice: int
    under_way_at_kills: int
    seconds: float

    def check(self) -> None:
        """Raise AssertionError where one was lost, or too many were doubled."""
        assert self.delivered == self.count, self
        assert self.taken_twice <= self.under_way_at_kills, self


class Moody(Receiver):
    """Take most messages, and be slow, down or hostile to the others."""

    def __init__(self, share_of_bad: float, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._share = share_of_bad
        self.taken = Counter[str]()

    def react(self, received: Received, connection: socket.socket) -> None:
        """Take the message, or be bad."""
        if self._random.random() < self._share:
            self._random.choice(BAD)(connection, self._over)
        else:
            self.taken[received.headers["webhook-id"]] += 1
            GOOD(connection, self._over)


def run(folder: Path, *, count: int, kills: int, seed: int = 1, receivers: int = 8, share: float = 0.1) -> Result:
    """Send so many messages, killing the processes so many times."""
    chance = random.Random(seed)
    app = create_app({"EZSTEMS_INSTANCE": folder, "EZSTEMS_WEBHOOKS": "on", "SEPARATOR": object()})
    with ExitStack() as stack:
        moody = [stack.enter_context(Moody(share, seed + each)) for each in range(receivers)]
        _fill(app, count, [each.url for each in moody])
        start = partial(_start, folder)
        processes = [start() for _ in range(PROCESSES)]
        began, under_way = time.monotonic(), 0
        try:
            for number in range(1, kills + 1):
                _wait_until(lambda part=number: _delivered(app) > count * part / (kills + 2))
                victim = chance.randrange(PROCESSES)
                os.kill(processes[victim].pid, signal.SIGKILL)
                processes[victim].wait()
                under_way += SEATS
                processes[victim] = start()
            _wait_until(lambda: _delivered(app) == count)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        taken = Counter[str]()
        for each in moody:
            taken.update(each.taken)
        requests = sum(len(each.requests) for each in moody)
        with app.app_context():
            ids = set(db.session.scalars(select(Delivery.message_id)))
        assert set(taken) == ids, "what the rows say was delivered, was"
        return Result(count, _delivered(app), requests, sum(taken.values()) - len(taken), under_way,
                      time.monotonic() - began)  # fmt: skip


def _fill(app: Flask, count: int, urls: list[str]) -> None:
    with app.app_context():
        users = []
        for number, url in enumerate(urls):
            user = User(email=f"{number}@example.com", plan="basic", password_hash="none")
            db.session.add(user)
            db.session.commit()
            Webhook.set_url(user.id, url)
            users.append(user.id)
        row = Delivery.test(users[0])
        assert row is not None
        # As `test` makes them, but in one transaction.
        rows = [{"message_id": f"msg_{number}", "user_id": users[number % len(users)], "event": row.event,
                 "url": urls[number % len(urls)], "host": urls[number % len(urls)].split("/")[2], "body": row.body,
                 "next_at": row.next_at}
                for number in range(1, count)]  # fmt: skip
        if rows:
            db.session.execute(db.insert(Delivery), rows)
        db.session.commit()


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.sending", str(folder), str(LEASE_SECONDS), str(TRY_SECONDS)]
    return subprocess.Popen(command, cwd=ROOT)


def _delivered(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).where(Delivery.state == "delivered")) or 0


def _wait_until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def main() -> None:
    """Run once, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("count", 10_000), ("kills", 5), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder) / "instance", count=chosen.count, kills=chosen.kills, seed=chosen.seed)
    print(result)
    result.check()


if __name__ == "__main__":
    main()
