"""The threads that send deliveries: one leases and settles them, others wait for the receivers.

Several processes share the rows: a lease is a conditional UPDATE. One that dies leaves its leases to end, and others
send again what it may have sent: each message at least once, under the same id.
"""

import logging
import queue
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone

import standardwebhooks
from blinker import Signal
from flask import Flask

from ezstems.database import current_watch, db, skip_fsync_once
from ezstems.models import Delivery, Webhook
from ezstems.webhooks.hosts import AllowedHosts
from ezstems.webhooks.outcome import GONE, outcome_of
from ezstems.webhooks.post import Answer, post
from ezstems.webhooks.url import parsed

log = logging.getLogger(__name__)

# How many are sent at a time, in all, to one host, for one account: a slow receiver must not keep others waiting.
SEATS, HOST_SEATS, ACCOUNT_SEATS = 32, 4, 8
LOOK_EVERY_SECONDS = 0.5
CHECK_DATES_EVERY_SECONDS = 60.0
# At a stop, what is under way may end; what takes longer is sent again by whoever comes next.
STOP_SECONDS = 2.0

# Sent with what came of a try: one of `outcome.OUTCOMES`.
delivery_tried = Signal()


@dataclass(frozen=True)
class Try:
    """Hold a leased delivery: all that a thread needs to send it, and whose lease it is."""

    id: int
    user_id: int
    job_id: str | None
    message_id: str
    url: str
    host: str
    body: str
    attempts: int
    claim: str
    secrets: tuple[str, ...]

    def send(self, allowed: AllowedHosts) -> Answer:
        """Sign the message with the time of this try, and send it."""
        now = datetime.now(timezone.utc)
        signatures = [standardwebhooks.Webhook(each).sign(self.message_id, now, self.body) for each in self.secrets]
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "EzStems",
            "webhook-id": self.message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        return post(self.url, self.body.encode(), headers, allowed)


class Sender:
    """Send an app's deliveries from this process, where the settings say so; `start` belongs after the fork."""

    def __init__(self, app: Flask) -> None:
        """Read the settings; raise ConfigurationError where they are wrong."""
        self._app = app
        self._allowed = AllowedHosts(app.config["EZSTEMS_WEBHOOK_HOSTS"])
        self._is_on = app.config["EZSTEMS_WEBHOOKS"] == "on"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._pool = ThreadPoolExecutor(SEATS, "webhook")
        self._flying: dict[int, Try] = {}
        self._landed: list[tuple[Try, Answer]] = []
        self._answers = queue.SimpleQueue[tuple[Try, Answer] | None]()
        self._dates_checked_seconds = float("-inf")

    def start(self) -> None:
        """Start the thread."""
        if self._is_on:
            self._thread.start()

    def stop(self) -> None:
        """Lease nothing more, and settle what ends soon; it may be called twice."""
        self._stopping.set()
        self._answers.put(None)
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS + LOOK_EVERY_SECONDS)
        self._pool.shutdown(wait=False)

    def _run(self) -> None:
        until: float | None = None
        while until is None or (self._flying and time.monotonic() < until):
            if until is None and self._stopping.is_set():
                until = time.monotonic() + STOP_SECONDS
            try:
                with self._app.app_context():
                    if not current_watch().is_lost():
                        self._act()
            except BaseException:  # a full disk, say; the next round tries again
                log.exception("webhooks could not be looked after and will be")
            self._collect()

    def _collect(self) -> None:
        """Wait for an answer, but not for long; take all that are there."""
        try:
            answer = self._answers.get(timeout=LOOK_EVERY_SECONDS)
            while True:
                if answer is not None:
                    self._landed.append(answer)
                answer = self._answers.get_nowait()
        except queue.Empty:
            pass

    def _act(self) -> None:
        if self._landed:
            self._settle()
        if self._stopping.is_set():
            return
        if time.monotonic() - self._dates_checked_seconds >= CHECK_DATES_EVERY_SECONDS:
            self._dates_checked_seconds = time.monotonic()
            Delivery.hasten_misdated()
        while leased := self._lease():
            for each in leased:
                self._flying[each.id] = each
                self._pool.submit(self._send, each)

    def _settle(self) -> None:
        """Store what came of the tries, all in one transaction, then tell of them."""
        outcomes = [(each, answer, outcome_of(answer, each.attempts)) for each, answer in self._landed]
        for each, _, outcome in outcomes:
            Delivery.settle(each.id, each.claim, delivered=outcome.is_delivered, **outcome.values)
            if outcome.name == GONE:
                Webhook.note_gone(each.user_id, each.url)
                Delivery.give_up(each.user_id, each.url, outcome.words)
        db.session.commit()
        self._landed.clear()
        for each, answer, outcome in outcomes:
            self._flying.pop(each.id, None)
            detail = f"{answer.status or answer.trouble}, {outcome.words}, try {each.attempts}"
            subject, place = f"job {each.job_id}" if each.job_id else "test", parsed(each.url).place
            log.info("%s: webhook %s to %s: %s", subject, each.message_id, place, detail,
                     extra={"job_id": each.job_id} if each.job_id else {})  # fmt: skip
            delivery_tried.send(outcome.name)

    def _lease(self) -> list[Try]:
        """Lease what is due, as far as there are seats, in one transaction."""
        free = SEATS - len(self._flying)
        if free <= 0:
            return []
        hosts = Counter(each.host for each in self._flying.values())
        users = Counter(each.user_id for each in self._flying.values())
        full = [host for host in hosts if hosts[host] >= HOST_SEATS]
        full_users = [user for user in users if users[user] >= ACCOUNT_SEATS]
        leased = []
        due = Delivery.due(free, full, full_users)
        if due:
            skip_fsync_once()  # a lease that a power cut takes lets the message be sent again
        for delivery in due:
            taken = hosts[delivery.host] >= HOST_SEATS or users[delivery.user_id] >= ACCOUNT_SEATS
            claim = secrets.token_hex(8)
            if taken or delivery.id in self._flying or not Delivery.lease(delivery, claim):
                continue
            hosts[delivery.host] += 1
            users[delivery.user_id] += 1
            leased.append(self._try(delivery, claim))
        db.session.commit()
        return leased

    def _try(self, delivery: Delivery, claim: str) -> Try:
        signing = tuple(Webhook.of(delivery.user_id).signing_secrets)
        return Try(delivery.id, delivery.user_id, delivery.job_id, delivery.message_id, delivery.url, delivery.host,
                   delivery.body, delivery.attempts + 1, claim, signing)  # fmt: skip

    def _send(self, each: Try) -> None:
        try:
            answer = each.send(self._allowed)
        except BaseException:
            log.exception("webhook %s: sending it failed by the server's fault", each.message_id)
            answer = Answer(trouble="the server failed")
        self._answers.put((each, answer))
