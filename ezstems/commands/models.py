"""`ezstems models`: the weights on disk."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
from flask import current_app
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ezstems.commands import table, with_app, with_instance
from ezstems.errors import FetchFailed, ModelMissing
from ezstems.instance import privileges
from ezstems.weights import fetch as fetching
from ezstems.weights import folders

NAMES = [f"{stems}stems" for stems in folders.STEM_COUNTS]


@click.group()
def models() -> None:
    """Manage the networks' weights."""


@models.command("list")
@with_instance
def list_models() -> None:
    """List which weights are here, and which of them a server that starts now uses."""
    rows = [
        (s.source, f"{s.stems}stems", s.state, f"{s.size_bytes / 1e6:.1f}", s.origin or "-", s.why or s.path)
        for s in folders.status(current_app.config["EZSTEMS_MODELS"])
    ]
    table(rows, "SOURCE", "MODEL", "STATE", "MB", "FROM", "WHERE OR WHY NOT")
    model = current_app.config["EZSTEMS_MODEL"]
    try:
        found = folders.require(model, current_app.config["EZSTEMS_MODELS"]).values()
        meant = ", ".join(one.label for one in found)
    except ModelMissing as error:
        meant = str(error)
    click.echo(f"EZSTEMS_MODEL={model}: {meant}")


@models.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@with_app
def fetch(names: tuple[str, ...]) -> None:
    """Fetch the official weights; all of them unless some are named."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    with _as_whose_it_is(folder := current_app.config["EZSTEMS_MODELS"]), bars:
        for name in names or NAMES:
            bar = bars.add_task(name, total=None)

            def progress(done_bytes: int, total_bytes: int | None, bar: Any = bar) -> None:
                bars.update(bar, completed=done_bytes, total=total_bytes)

            # The first failure ends it: what one archive can't be reached for, the others can't either.
            try:
                fetched = fetching.fetch(int(name[0]), folder, progress=progress)
            except FetchFailed:
                bars.remove_task(bar)
                raise
            bars.update(bar, description=f"{name}: {'fetched' if fetched else 'here already'}", total=1, completed=1)


def _as_whose_it_is(folder: Path) -> AbstractContextManager[None]:
    """Write into a folder of the instance as its owner, and into another one as who called: others may share that."""
    return nullcontext() if folder.is_relative_to(current_app.instance_path) else privileges.as_caller()
