"""The command `ezstems`: one group, a module for each noun it manages."""

import sys

import click

from ezstems.commands import demo, jobs, keys, models, separate, users
from ezstems.errors import EzStemsError


@click.group()
@click.version_option(package_name="ezstems")
def cli() -> None:
    """Run and look after an EzStems server."""


for command in (users.users, keys.keys, models.models, jobs.jobs, separate.separate, demo.demo):
    cli.add_command(command)


def main() -> None:
    """Run the command; a domain error is one line, not a stack trace."""
    try:
        cli(prog_name="ezstems")
    except EzStemsError as error:
        click.echo(f"ezstems: {error}", err=True)
        sys.exit(1)
