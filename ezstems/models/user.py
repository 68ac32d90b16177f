"""Accounts: who may come in, and by which password; with which plan."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from flask_login import UserMixin
from sqlalchemy import CheckConstraint, insert, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from ezstems.database import db
from ezstems.errors import ServerFull
from ezstems.models.rows import utcnow
from ezstems.models.session import Session

PLAN_MAX_MB = {"basic": 30, "premium": 40, "pro": 75}
CUSTOM_MAX_MB = 300
PLANS = (*PLAN_MAX_MB, "custom")
# No more than this: a box in a private network may well have accounts at `localhost` or `box.lan`.
ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")
# An unknown address is checked against this, so that it takes as long as a wrong password: `generate_password_hash`'s
# own method, and what no password hashes to.
_NOBODY = "scrypt:32768:8:1$nobody$none"
# A hash takes 32 MB and a tenth of a second by design: many logins at once must take neither all memory nor all cores.
_HASHING = threading.BoundedSemaphore(2)
HASHING_WAIT_SECONDS = 5.0


class User(UserMixin, db.Model):  # type: ignore[name-defined]
    """Hold an account: an e-mail address, a plan, keys and jobs."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(f"plan IN {PLANS}", name="plan"),
        CheckConstraint(
            f"(plan = 'custom') = (max_mb IS NOT NULL) AND (max_mb IS NULL OR max_mb BETWEEN 1 AND {CUSTOM_MAX_MB})",
            name="max_mb",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    plan: Mapped[str]
    max_mb: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    @staticmethod
    def address(email: str) -> str:
        """Return an e-mail address as it is stored; raise ValueError when it is none."""
        address = email.strip().lower()
        if not (ADDRESS.fullmatch(address) and address.isprintable()):
            raise ValueError("must be an e-mail address")
        return address

    @classmethod
    def with_address(cls, email: str) -> "User | None":
        """Return the account with an e-mail address, however it is capitalised."""
        return db.session.scalar(select(cls).where(cls.email == email.strip().lower()))

    @classmethod
    def register(cls, email: str, plan: str, max_mb: int | None, password: str) -> "User | None":
        """Add an account and commit; None when its address has one already, ValueError when it is no address."""
        user = cls(email=cls.address(email), plan=plan, max_mb=max_mb)
        user.set_password(password)
        db.session.add(user)
        try:
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            return None
        return user

    @classmethod
    def with_password(cls, email: str, password: str) -> "User | None":
        """Return the account with this e-mail address and password; whichever is wrong, that takes the same time."""
        user = cls.with_address(email)
        right = _matches(_NOBODY if user is None else user.password_hash, password)
        return user if right else None

    def has_password(self, password: str) -> bool:
        """Tell whether a password is the account's."""
        return _matches(self.password_hash, password)

    def set_password(self, password: str) -> None:
        """Keep the salted hash of a password, and end every session."""
        with _hashing_slot():
            self.password_hash = generate_password_hash(password)
        if self.id is not None:
            Session.end_all(self.id)

    def begin_session(self) -> str | None:
        """Begin a session and return its token; None when the password was changed since this row was read."""
        token, now = Session.new_token(), utcnow()
        same = select(literal(Session.digest(token)), User.id, literal(now), literal(now)).where(
            User.id == self.id, User.password_hash == self.password_hash
        )
        columns = [Session.token_hash, Session.user_id, Session.created_at, Session.seen_at]
        # Not by the count of rows: some drivers don't count those of such an INSERT.
        begun = db.session.scalar(insert(Session).from_select(columns, same).returning(Session.user_id))
        Session.prune(self.id)
        db.session.commit()
        return token if begun is not None else None

    @classmethod
    def of_session(cls, token: str) -> "User | None":
        """Return the account whose session a token is, unless that is over."""
        found = db.session.execute(
            select(cls, Session).join(Session, Session.user_id == cls.id).where(Session.is_live(token))
        ).one_or_none()
        if found is None:
            return None
        user, session = found
        session.see()
        return user

    @property
    def max_upload_bytes(self) -> int:
        """Return the size of the largest file that the plan allows."""
        return (self.max_mb or PLAN_MAX_MB[self.plan]) * 1024 * 1024


def _matches(password_hash: str, password: str) -> bool:
    with _hashing_slot():
        return check_password_hash(password_hash, password)


@contextmanager
def _hashing_slot() -> Iterator[None]:
    db.session.commit()  # releases the database connection before it blocks
    if not _HASHING.acquire(timeout=HASHING_WAIT_SECONDS):
        raise ServerFull("Too many passwords are being checked at this moment. Try again later.", 10)
    try:
        yield
    finally:
        _HASHING.release()
