"""Claims of this process on uploads' keys, which it renews for as long as it receives the uploads."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ezstems.database import db
from ezstems.errors import EzStemsError, UploadInFlight
from ezstems.models import IdempotencyKey

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5


class Claim:
    """Hold a key while its upload is received, or how the first upload with it was answered."""

    def __init__(self, key: str, token: str | None, first: IdempotencyKey | None = None) -> None:
        self.key = key
        self.token = token
        self.first = first

    def settle(self, fingerprint: str, answer: str) -> None:
        """Store the answer in the job's transaction; raise UploadInFlight where another upload has taken the key."""
        if self.token is None or not IdempotencyKey.settle(self.token, fingerprint, answer):
            raise in_flight(self.key)


class Claims:
    """Remember which claims this process holds."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._held: set[str] = set()

    @contextmanager
    def claim(self, user_id: int, key: str) -> Iterator[Claim]:
        """Lend the claim on an account's key, which is free again where the block fails, or what came of the first one.

        Raises:
            UploadInFlight: another upload has it, and isn't through yet.
        """
        token, first = IdempotencyKey.take(user_id, key)
        if token is None:
            if first is not None and first.answer is None:
                raise in_flight(key)
            yield Claim(key, None, first)
            return
        with self._lock:
            self._held.add(token)
        try:
            yield Claim(key, token)
        except BaseException:
            self._release(token)
            raise
        finally:
            with self._lock:
                self._held.discard(token)

    def renew(self) -> None:
        """Lease anew what is held."""
        with self._lock:
            held = self._held.copy()
        if held:
            with self._app.app_context():
                IdempotencyKey.renew(held)

    def _release(self, token: str) -> None:
        try:
            db.session.rollback()
            IdempotencyKey.release(token)
        except (SQLAlchemyError, EzStemsError):  # its lease ends soon
            db.session.rollback()
            log.exception("the key of an upload that failed could not be freed")


def in_flight(key: str) -> UploadInFlight:
    """Return what to raise for a key whose upload isn't through yet."""
    return UploadInFlight(
        f"Idempotency-Key={key[:64]!r}: another upload with this key is being received. Send it again in a "
        "few seconds.",
        AGAIN_SECONDS,
    )
