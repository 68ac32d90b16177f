"""`ezstems demo`: an account to try things with, made once, on an instance that has none."""

import secrets
import shlex
import shutil
import sys

import click
from flask import current_app
from sqlalchemy import select

from ezstems.commands import users, with_app
from ezstems.database import db
from ezstems.models import ApiKey, User

EMAIL = "demo@example.com"
EVERY_ADDRESS = ("", "0.0.0.0", "[::]")
CURL = 'curl -H "Authorization: Bearer {key}" -F file=@song.mp3 -F stems=2 {url}'
# Where there is no curl: what is installed here for the server can do as much.
PYTHON = """{python} -c 'import requests; print(requests.post("{url}", headers={{"Authorization": "Bearer {key}"}},
    files={{"file": open("song.mp3", "rb")}}, data={{"stems": 2}}).text)'"""


@click.command(hidden=True)
@with_app
def demo() -> None:
    """Make a demo account and print its key with a ready line for the shell, unless there is an account already."""
    if db.session.scalar(select(User.id).limit(1)) is not None:
        return
    password = secrets.token_urlsafe(12)
    user = users.make(EMAIL, "pro", None, password)
    _, key = ApiKey.issue(user)
    db.session.commit()
    host, _, port = current_app.config["EZSTEMS_BIND"].rpartition(":")
    address = "127.0.0.1:8000" if host == "unix" else f"{'127.0.0.1' if host in EVERY_ADDRESS else host}:{port}"
    line = CURL if shutil.which("curl") else PYTHON
    ready = line.format(python=shlex.quote(sys.executable), key=key, url=f"http://{address}/api/v1/upload.php")
    click.echo(
        f"""
A demo account was made; this is shown once.
  website   http://{address}/login   {EMAIL}   {password}
  API key   {key}

  {ready}
"""
    )
