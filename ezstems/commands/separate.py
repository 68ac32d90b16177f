"""`ezstems separate`: stems without a server."""

import shutil
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ezstems import config, log
from ezstems.audio.encode import OUTPUTS
from ezstems.audio.separate import CUTOFFS, STEMS, Separator
from ezstems.errors import BadInput, DecodingFailed, EncodingFailed


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--stems", type=click.Choice([str(stems) for stems in STEMS]), default="2", show_default=True)
@click.option("--output", type=click.Choice(OUTPUTS), default=OUTPUTS[0], show_default=True)
@click.option("--cutoff", type=click.Choice(CUTOFFS, case_sensitive=False), default=CUTOFFS[0], show_default=True)
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default=True)
def separate(files: tuple[Path, ...], stems: str, output: str, cutoff: str, directory: Path) -> None:
    """Write each FILE's stems to DIRECTORY/<name of FILE>/."""
    log.configure("warning")
    settings = config.load(config.instance_folder())
    separator = Separator(
        settings["EZSTEMS_MODELS"], settings["EZSTEMS_MODEL"], settings["EZSTEMS_MAX_DURATION_SECONDS"]
    )
    console, failed = Console(stderr=True), 0
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        for file in files:
            bar = bars.add_task(file.name, total=100)
            target = directory / file.stem
            target.mkdir(parents=True, exist_ok=True)
            # Beside their final place, so that a stem is never there half-written.
            with TemporaryDirectory(dir=target, prefix=".part-") as part:
                try:
                    made = separator(
                        file,
                        Path(part),
                        stems=int(stems),
                        cutoff=cutoff,
                        output=output,
                        progress=partial(_show, bars, bar),
                    )
                except (BadInput, DecodingFailed, EncodingFailed) as error:
                    failed += 1
                    click.echo(f"{file}: {error}", err=True)
                    continue
                for stem in made.files:
                    shutil.move(stem, target / stem.name)
            click.echo(f"{target}: {made.model}", err=True)
    sys.exit(1 if failed else 0)


def _show(bars: Progress, bar: TaskID, percent: float) -> None:
    bars.update(bar, completed=percent)
