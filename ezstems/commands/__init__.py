"""The commands below `ezstems`; what several of them need."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from ezstems import configured, create_app

if TYPE_CHECKING:
    from flask import Flask

    from ezstems.models import User

Command = Callable[..., Any]


def _inside(make_app: "Callable[[], Flask]") -> Callable[[Command], Command]:
    """Make what runs commands inside an app, as the owner of its instance folder."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            # Imported here: `remote` has neither an app nor an instance.
            from ezstems import config, log
            from ezstems.instance import privileges

            with privileges.as_owner_of(config.instance_folder()):
                app = make_app()
                log.configure("warning")
                with app.app_context():
                    return command(*args, **kwargs)

        return wrapped

    return decorate


# A command that may come first: the app makes what the instance folder lacks.
with_app = _inside(create_app)
# One that has nothing to do where there is no instance: it is refused there, and makes none.
with_instance = _inside(partial(create_app, make=False))
# One that must work where a start is refused: it gets the settings and the database, and nothing is made.
with_settings = _inside(configured)


def account(email: str) -> "User":
    """Return the account with an e-mail address."""
    from ezstems.models import User

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


@contextmanager
def stoppable() -> Iterator[None]:
    """Let a stop end the block as an error does: it is no reason to leave half of anything behind."""
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
