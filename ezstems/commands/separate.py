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
from ezstems.audio.outputs import OUTPUTS
from ezstems.audio.separate import CUTOFFS, STEMS, Separation
from ezstems.commands import with_app
from ezstems.errors import BadInput, DecodingFailed, EncodingFailed
from ezstems.instance import privileges


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--stems", type=click.Choice([str(stems) for stems in STEMS]), default="2", show_default=True)
@click.option("--output", type=click.Choice(OUTPUTS, case_sensitive=False), default=OUTPUTS[0], show_default=True)
@click.option("--cutoff", type=click.Choice(CUTOFFS, case_sensitive=False), help="Default: EZSTEMS_CUTOFF, or full.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default=True)
@with_app
def separate(files: tuple[Path, ...], stems: str, output: str, cutoff: str | None, directory: Path) -> None:
    """Write each FILE's stems to DIRECTORY/<name of FILE>/."""
    log.configure("error")  # a file that can't be read is told in one line, without ffmpeg's own words
    names = [file.stem for file in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise click.ClickException(f"{', '.join(twice)}: several files of this name would write to the same folder")
    separator = current_app.config["SEPARATOR"]
    console, failed = Console(stderr=True), False
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with privileges.as_caller(), Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        for file in files:
            bar = bars.add_task(file.name, total=100)
            show = partial(_show, bars, bar)
            work = partial(separator, stems=int(stems), cutoff=cutoff, output=output, progress=show)
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
