"""`ezstems separate`: stems without a server."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from flask import current_app
from rich.console import Console
from rich.progress import Progress, TaskID, TaskProgressColumn

from ezstems import log
from ezstems.audio import clipping
from ezstems.audio.decode import check
from ezstems.audio.parameters import PARAMETERS
from ezstems.audio.separate import Separation
from ezstems.commands import separation, with_app
from ezstems.errors import BadInput, DecodingFailed, EncodingFailed
from ezstems.instance import privileges


@click.command()
@separation.files_argument
@separation.options(separation.of_settings)
@separation.directory_option
@with_app
def separate(files: tuple[Path, ...], directory: Path, **asked: str | None) -> None:
    """Write each FILE's stems to DIRECTORY/<name of FILE>/."""
    log.configure("error")  # a file that can't be read is told in one line, without ffmpeg's own words
    targets = separation.targets(files, directory)
    separator = current_app.config["SEPARATOR"]
    options = {name: PARAMETERS[name].parse(word or "", current_app.config) for name, word in asked.items()}
    console, failed = Console(stderr=True), False
    with privileges.as_caller(), separation.progress(console, TaskProgressColumn()) as bars:
        for file, target in targets.items():
            bar = bars.add_task(file.name, total=100)
            show = partial(_show, bars, bar)
            work = partial(separator, **options, progress=show)
            try:
                check(file, file.suffix)  # which knows more to say than that nothing comes of it
                made = _write(work, file, target)
            except (BadInput, DecodingFailed, EncodingFailed) as error:
                failed = True
                click.echo(f"{file}: {error}", err=True)
            except OSError as error:
                raise click.ClickException(f"{error.filename or target}: {error.strerror}") from error
            else:
                click.echo(f"{target}: {made.model}", err=True)
                if made.clipped:
                    click.echo(f"{target}: {clipping.advice(made.clipped)}", err=True)
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
