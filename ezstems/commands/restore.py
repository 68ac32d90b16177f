"""`ezstems restore`: an instance folder out of a backup."""

import os
import shlex
import sys
from pathlib import Path

import click
from sqlalchemy.engine import make_url

from ezstems.commands import stoppable
from ezstems.jobs import restore as restores

DATABASE_URL = "EZSTEMS_DATABASE_URL"


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Where the instance is to be: not there yet, or empty.")  # fmt: skip
@click.option("--incomplete", is_flag=True, help="Restore what there is, though files of some jobs are lacking.")
def restore(file: Path, folder: Path, incomplete: bool) -> None:
    """Make an instance folder of FILE, which `ezstems backup` wrote; what doesn't pass the checks changes nothing."""
    named = os.environ.get(DATABASE_URL)
    if named and make_url(named).get_backend_name() != "sqlite":
        other = make_url(named).get_backend_name()
        raise click.ClickException(f"{DATABASE_URL} names {other}; what is restored is an SQLite file: unset it first")
    try:
        with stoppable():
            restored = restores.restore(file, folder.resolve(), incomplete=incomplete)
    except restores.Unfit as error:
        raise click.ClickException(f"{file} can't be restored: {error}") from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {error.strerror}") from error
    click.echo(f"{folder}: {restored.accounts} accounts, {restored.jobs} jobs and {restored.files} files")
    if restored.is_config_changed:
        click.echo(f"its config.py named another database: a last line of it has {DATABASE_URL} = None now")
    if named:
        click.echo(f"{DATABASE_URL} is set here; unset it for this instance, or a start will be refused")
    program = Path(sys.executable).with_name("ezstems")
    start = f"EZSTEMS_INSTANCE={shlex.quote(str(folder.resolve()))} {shlex.quote(str(program))}"
    click.echo(f"start there with: {start} serve")
