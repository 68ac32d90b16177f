"""`ezstems demo`: an account to try things with, made once, on an instance that has none."""

import secrets

import click
from flask import current_app
from sqlalchemy import select

from ezstems.commands import users, with_app
from ezstems.database import db
from ezstems.models import ApiKey, User

EMAIL = "demo@example.com"
EVERY_ADDRESS = ("", "0.0.0.0", "[::]")


@click.command(hidden=True)
@with_app
def demo() -> None:
    """Make a demo account and print its key with a ready curl line, unless there is an account already."""
    if db.session.scalar(select(User.id).limit(1)) is not None:
        return
    password = secrets.token_urlsafe(12)
    user = users.make(EMAIL, "pro", None, password)
    _, key = ApiKey.issue(user)
    db.session.commit()
    host, _, port = current_app.config["EZSTEMS_BIND"].rpartition(":")
    address = "127.0.0.1:8000" if host == "unix" else f"{'127.0.0.1' if host in EVERY_ADDRESS else host}:{port}"
    click.echo(
        f"""
A demo account was made; this is shown once.
  website   http://{address}/login   {EMAIL}   {password}
  API key   {key}

  curl -H "Authorization: Bearer {key}" -F file=@song.mp3 -F stems=2 http://{address}/api/v1/upload.php
"""
    )
