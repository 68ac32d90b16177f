"""`ezstems keys`: the API keys."""

import click
from sqlalchemy import select

from ezstems.commands import account, table, with_instance
from ezstems.database import db
from ezstems.models import MAX_KEY_NAME, ApiKey


@click.group()
def keys() -> None:
    """Manage API keys."""


@keys.command()
@click.argument("email")
@click.option("--rate-limit", type=click.IntRange(1), help="Calls in a window, instead of the server's setting.")
@click.option("--name", default="", help="What the key is for; shown in lists.")
@with_instance
def add(email: str, rate_limit: int | None, name: str) -> None:
    """Make a key for an account and print it, alone; it is shown this once."""
    try:
        checked = ApiKey.checked_name(name)
    except ValueError as error:
        raise click.ClickException(f"--name {name[:MAX_KEY_NAME]!r} {error}") from error
    _, key = ApiKey.issue(account(email), rate_limit, checked)
    db.session.commit()
    click.echo(key)


@keys.command("list")
@with_instance
def list_keys() -> None:
    """List all keys."""
    rows = db.session.scalars(select(ApiKey).order_by(ApiKey.id))
    table(
        [
            (
                key.id,
                key.user.email,
                f"********{key.tail}",
                key.name,
                "yes" if key.is_active else "no",
                key.rate_limit or "default",
                key.created_at,
                key.last_used_at or "never",
            )
            for key in rows
        ],
        *("ID", "EMAIL", "KEY", "NAME", "ACTIVE", "RATE LIMIT", "CREATED (UTC)", "LAST USED (UTC)"),
    )


@keys.command()
@click.argument("key_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@with_instance
def revoke(key_id: int) -> None:
    """Deactivate a key for good."""
    key = db.session.get(ApiKey, key_id)
    if key is None:
        raise click.ClickException(f"there is no key {key_id}; `ezstems keys list` shows them")
    key.is_active = False
    db.session.commit()
    click.echo(f"key {key_id} of {key.user.email} is deactivated")
