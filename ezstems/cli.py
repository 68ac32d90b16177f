"""The command `ezstems`: one group, a module for each noun it manages."""

import sys

import click
from sqlalchemy.exc import OperationalError

from ezstems.commands import backup, demo, instance, jobs, keys, models, restore, separate, serve, users, worker
from ezstems.database import is_busy
from ezstems.disk import is_full
from ezstems.errors import EzStemsError


@click.group()
@click.version_option(package_name="ezstems")
def cli() -> None:
    """Run and look after an EzStems server."""


for command in (
    serve.serve,
    worker.worker,
    users.users,
    keys.keys,
    models.models,
    jobs.jobs,
    instance.instance,
    backup.backup,
    restore.restore,
    separate.separate,
    demo.demo,
):
    cli.add_command(command)


def main() -> None:
    """Run the command; a domain error is one line, not a stack trace."""
    try:
        cli(prog_name="ezstems")
    except EzStemsError as error:
        sys.exit(f"ezstems: {error}")
    except OperationalError as error:
        if is_full(error):
            sys.exit("ezstems: the disk is full; `ezstems jobs prune` and `jobs delete` make room")
        if is_busy(error):
            sys.exit(f"ezstems: the database is busy, try again: {error.orig}")
        raise
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f"ezstems: {error.filename}: {error.strerror}")
