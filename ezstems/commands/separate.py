"""`ezstems separate`: stems without a server."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from flask import current_app
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ezstems import log
from ezstems.audio import clipping
from ezstems.audio.parameters import PARAMETERS
from ezstems.audio.separate import Separation
from ezstems.commands import with_app
from ezstems.errors import BadInput, DecodingFailed, EncodingFailed
from ezstems.instance import privileges


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each parameter of a separation."""
    for name, parameter in reversed(PARAMETERS.items()):
        first = next(iter(parameter.choices))
        default, told = (None, f"Default: {parameter.setting}, or {first}.") if parameter.setting else (first, None)
        words = click.Choice([*parameter.choices], case_sensitive=False)
        command = click.option(f"--{name}", type=words, default=default, show_default=True, help=told)(command)
    return command


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_options
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default=True)
@with_app
def separate(files: tuple[Path, ...], directory: Path, **asked: str | None) -> None:
    """Write each FILE's stems to DIRECTORY/<name of FILE>/."""
    log.configure("error")  # a file that can't be read is told in one line, without ffmpeg's own words
    names = [file.stem for file in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise click.ClickException(f"{', '.join(twice)}: several files of this name would write to the same folder")
    separator = current_app.config["SEPARATOR"]
    options = {name: PARAMETERS[name].parse(word or "", current_app.config) for name, word in asked.items()}
    console, failed = Console(stderr=True), False
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with privileges.as_caller(), Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        for file in files:
            bar = bars.add_task(file.name, total=100)
            show = partial(_show, bars, bar)
            work = partial(separator, **options, progress=show)
            try:
                made = _write(work, file, directory / file.stem)
            except (BadInput, DecodingFailed, EncodingFailed) as error:
                failed = True
                click.echo(f"{file}: {error}", err=True)
            except OSError as error:
                raise click.ClickException(f"{error.filename or directory / file.stem}: {error.strerror}") from error
            else:
                click.echo(f"{directory / file.stem}: {made.model}", err=True)
                if made.clipped:
                    click.echo(f"{directory / file.stem}: {clipping.advice(made.clipped)}", err=True)
    sys.exit(1 if failed else 0)


def _write(work: Callable[[Path, Path], Separation], file: Path, target: Path) -> Separation:
    """Separate a file and move its finished stems to their folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside their final place, so that a stem is never there half-written.
    with TemporaryDirectory(dir=target.parent, prefix=".part-") as part:
        made = work(file, Path(part))
        target.mkdir(exist_ok=True)
        for stem in made.files:
            stem.replace(target / stem.name)
    return made


def _show(bars: Progress, bar: TaskID, percent: float) -> None:
    bars.update(bar, completed=percent)
