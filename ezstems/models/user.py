"""Accounts: who may come in, with which plan."""

import hmac
import re
import secrets
from datetime import datetime

from flask_login import UserMixin
from sqlalchemy import CheckConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import generate_password_hash

from ezstems.database import db
from ezstems.models.rows import utcnow

PLAN_MAX_MB = {"basic": 30, "premium": 40, "pro": 75}
CUSTOM_MAX_MB = 300
PLANS = (*PLAN_MAX_MB, "custom")
# No more than this: a box in a private network may well have accounts at `localhost` or `box.lan`.
ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")


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
    session_token: Mapped[str]
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

    def set_password(self, password: str) -> None:
        """Keep the salted hash of a password, and end every session that began with another."""
        self.password_hash = generate_password_hash(password)
        self.session_token = secrets.token_hex(16)

    def get_id(self) -> str:
        """Return what a session remembers: who, and until which password change."""
        return f"{self.id}:{self.session_token}"

    @classmethod
    def of_session(cls, remembered: str) -> "User | None":
        """Return the account that a session remembers, unless its password has changed since."""
        number, _, token = remembered.partition(":")
        user = db.session.get(cls, int(number))
        return user if user is not None and hmac.compare_digest(user.session_token, token) else None

    @property
    def max_upload_bytes(self) -> int:
        """Return the size of the largest file that the plan allows."""
        return (self.max_mb or PLAN_MAX_MB[self.plan]) * 1024 * 1024
