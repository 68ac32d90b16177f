"""The commands below `ezstems`; what several of them need."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ezstems import create_app, log
from ezstems.models import User

Command = Callable[..., Any]


def with_app(command: Command) -> Command:
    """Run a command inside the app, whose instance folder it makes where it is missing."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        app = create_app()
        log.configure("warning")
        with app.app_context():
            return command(*args, **kwargs)

    return wrapped


def account(email: str) -> User:
    """Return the account with an e-mail address."""
    user = User.with_address(email)
    if user is None:
        raise click.ClickException(f"there is no account {email!r}; make it with: ezstems users add {email}")
    return user


def table(rows: list[tuple[Any, ...]], *header: str) -> None:
    """Print rows in columns."""
    text = [header, *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in text) for column in range(len(header))]
    for row in text:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
