"""`ezstems instance`: the instance folder, its database, and whether they belong together."""

from pathlib import Path

import click
from flask import current_app

from ezstems import database
from ezstems.commands import with_settings
from ezstems.errors import ConfigurationError
from ezstems.instance import folder as folders
from ezstems.instance import identity
from ezstems.instance.home import Home
from ezstems.jobs import storage


@click.group()
def instance() -> None:
    """Look after the instance folder and its database."""


@instance.command()
@with_settings
def show() -> None:
    """Show folder and database, their ids, and what each holds; it works where a start is refused, too."""
    home, files, unnamed = _found()
    accounts, jobs = identity.count_rows()
    for name, value in (
        ("folder", Path(current_app.instance_path)),
        *([("store", url)] if (url := current_app.config["EZSTEMS_STORAGE_URL"]) else []),
        ("its id", home.read_id() or "none"),
        ("files", f"{files}, {unnamed} of which no row names"),
        ("database", f"{database.url_to_show()}{'' if identity.database_exists() else ' (not there, or empty)'}"),
        ("its id", identity.database_id() or "none"),
        ("accounts", accounts),
        ("jobs", jobs),
    ):
        click.echo(f"{name:9} {value}")
    try:
        identity.require_match(home)
    except ConfigurationError as error:
        raise click.ClickException(f"a start is refused: {error}") from error


@instance.command()
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_settings
def adopt(yes: bool) -> None:
    """Bind folder and database to each other, whatever they were bound to: former partners of either fit no longer."""
    home, files, unnamed = _found()
    accounts, jobs = identity.count_rows()
    rows = f"{database.url_to_show()} with {accounts} accounts and {jobs} jobs"
    pair = f"{home.place} with {files} files and {rows}"
    lost = f"; {unnamed} files that no row names go to lost/ at the next sweep" if unnamed else ""
    if not yes:
        click.echo("Stop every server of either first.")
        click.confirm(f"Bind {pair} to each other{lost}?", abort=True)
    folders.prepare(current_app._get_current_object(), adopt=True)  # type: ignore[attr-defined]
    click.echo(f"bound {pair} to each other{lost}")


def _found() -> tuple[Home, int, int]:
    """Return folder or store, the counts of its files and of those that no row names; refuse where there is nothing."""
    storage.require(current_app)
    home = folders.home_of(current_app)
    files, unnamed = identity.count_files(home)
    if not files and home.read_id() is None and not identity.database_exists():
        raise click.ClickException(f"there is no instance in {home.place}")
    return home, files, unnamed
