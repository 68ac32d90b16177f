"""What `separate` and `remote separate` have in common: their arguments, their folders, their bars."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from ezstems.audio.parameters import PARAMETERS, Parameter

Command = Callable[..., Any]


class AudioPath(click.Path):
    """Be a path of a file proper; a pipe or a device, which click takes for one, would be waited for without an end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; fail where there is no such file."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.is_file():
            self.fail(f"File {click.format_filename(path)!r} must be a file, not a pipe or a device.", param, ctx)
        return path


files_argument = click.argument(
    "files", nargs=-1, required=True, type=AudioPath(exists=True, dir_okay=False, path_type=Path)
)
directory_option = click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default=True
)


def of_settings(parameter: Parameter) -> tuple[str | None, str | None]:
    """Return an option's default, and what is told of it, where this machine's settings decide."""
    first = next(iter(parameter.choices))
    return (None, f"Default: {parameter.setting}, or {first}.") if parameter.setting else (first, None)


def of_server(parameter: Parameter) -> tuple[str | None, str | None]:
    """Return an option's default, and what is told of it, where a server decides what it isn't told."""
    return (next(iter(parameter.choices)), None) if parameter.is_required else (None, "Default: the server's.")


def options(default: Callable[[Parameter], tuple[str | None, str | None]]) -> Callable[[Command], Command]:
    """Give a command an option for each parameter of a separation."""

    def decorate(command: Command) -> Command:
        for name, parameter in reversed(PARAMETERS.items()):
            value, told = default(parameter)
            words = click.Choice([*parameter.choices], case_sensitive=False)
            command = click.option(f"--{name}", type=words, default=value, show_default=True, help=told)(command)
        return command

    return decorate


def targets(files: Sequence[Path], directory: Path) -> Mapping[Path, Path]:
    """Return the folder of each file's stems; raise ClickException where two would have the same."""
    names = [file.stem for file in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise click.ClickException(f"{', '.join(twice)}: several files of this name would write to the same folder")
    return {file: directory / file.stem for file in files}


def progress(console: Console, *columns: ProgressColumn) -> Progress:
    """Make bars for a terminal; a file's name is shown as it is, brackets too."""
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), *columns, TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
