"""The command `ezstems`: one group, a module for each noun it manages."""

import sys
from importlib import import_module

import click

from ezstems.errors import EzStemsError

COMMANDS = (
    *("serve", "worker", "users", "keys", "models", "jobs", "webhooks", "instance", "backup", "restore"),
    *("separate", "remote", "demo"),
)


class _Modules(click.Group):
    """Import a command's module when it is called for: `remote` needs next to nothing of what others load."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"ezstems.commands.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Modules)
@click.version_option(package_name="ezstems")
def cli() -> None:
    """Run and look after an EzStems server."""


def main() -> None:
    """Run the command; a domain error is one line, not a stack trace."""
    try:
        cli(prog_name="ezstems")
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        sys.exit(f"ezstems: {told}")


def _told(error: Exception) -> str | None:
    """Say in a line what went wrong; None where that is the program's own fault."""
    if isinstance(error, EzStemsError):
        return str(error)
    # Imported here: not every command knows the database.
    from sqlalchemy.exc import OperationalError

    from ezstems.database import is_busy
    from ezstems.disk import is_full

    if isinstance(error, OperationalError):
        if is_full(error):
            return "the disk is full; `ezstems jobs prune` and `jobs delete` make room"
        return f"the database is busy, try again: {error.orig}" if is_busy(error) else None
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None
