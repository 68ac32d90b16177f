"""`ezstems remote`: this command line, another machine's server. It makes no instance, and loads no network."""

import sys
import threading
from pathlib import Path

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress, TaskID, TaskProgressColumn

from ezstems.audio.kinds import API_EXTENSIONS
from ezstems.commands import separation, stoppable
from ezstems.remote import song as songs
from ezstems.remote.api import Api, Server
from ezstems.remote.batch import Batch
from ezstems.remote.song import Song

# How long the server may wait before it answers: a bar is to move, a line is printed only when something changed.
WAIT_SECONDS, WAIT_OF_BARS_SECONDS = 60, 3
INTERRUPTED = 130


@click.group()
def remote() -> None:
    """Use another machine's server, this one's API or the original's."""


@remote.command()
@separation.files_argument
@click.option("--server", "url", required=True, envvar="EZSTEMS_SERVER", show_envvar=True, metavar="URL",
              help="Its address, such as https://stems.example.com.")  # fmt: skip
@click.option("--key", required=True, envvar="EZSTEMS_KEY", show_envvar=True,
              help="An API key. Others on this machine can see what stands on a command line.")  # fmt: skip
@separation.options(separation.of_server)
@separation.directory_option
@click.option("--anew", is_flag=True, help="Separate again what was separated in the last 24 hours.")
def separate(files: tuple[Path, ...], url: str, key: str, directory: Path, anew: bool, **asked: str | None) -> None:
    """Have each FILE separated by a server; write its stems to DIRECTORY/<name of FILE>/."""
    targets = separation.targets(files, directory)
    for file in files:
        if (extension := file.suffix.lower().lstrip(".")) not in API_EXTENSIONS:
            raise click.ClickException(f"{file}: extension={extension!r} must be {', '.join(API_EXTENSIONS)}")
    server = Server(url, key.strip())
    with Api(server, lambda text: click.echo(text, err=True)) as api:
        api.check()
    fields = {name: word for name, word in asked.items() if word is not None}
    console = Console(stderr=True)
    bars = separation.progress(console, TaskProgressColumn())
    batch = Batch(
        server,
        [Song(file, target) for file, target in targets.items()],
        fields,
        Screen(bars) if console.is_terminal else Lines(),
        anew=anew,
        longest_wait_seconds=WAIT_OF_BARS_SECONDS if console.is_terminal else WAIT_SECONDS,
    )
    with bars, stoppable():
        try:
            good = batch.run()
        except KeyboardInterrupt:
            batch.stop()
            batch.cancel()
            sys.exit(INTERRUPTED)
    sys.exit(0 if good else 1)


class Lines:
    """Print a line whenever a song reaches another stage."""

    def __init__(self) -> None:
        self._stages: dict[Path, str] = {}

    def stage(self, song: Song, stage: str, done: float, total: float | None) -> None:
        if self._stages.get(song.file) != stage:
            self._stages[song.file] = stage
            job = f", job {song.job}" if song.job else ""
            click.echo(f"{song.file}: {stage}{job}", err=True)

    def say(self, song: Song, text: str) -> None:
        click.echo(f"{song.file}: {text}", err=True)

    def finish(self, song: Song, text: str) -> None:
        click.echo(text, err=True)


class Screen(Lines):
    """Move a bar for each song that is under way."""

    def __init__(self, bars: Progress) -> None:
        super().__init__()
        self._bars = bars
        self._tasks: dict[Path, TaskID] = {}
        self._lock = threading.Lock()

    def stage(self, song: Song, stage: str, done: float, total: float | None) -> None:
        if stage == songs.QUEUED:
            stage, done, total = f"queued, place {done:.0f}" if done else "queued", 0, None
        elif stage != songs.PROCESSING:
            stage = f"{stage} {decimal(int(done))}" + (f" of {decimal(int(total))}" if total else "")
        with self._lock:
            if song.file not in self._tasks:
                self._tasks[song.file] = self._bars.add_task("", total=None)
            # Not what is left of another stage's time.
            words = f"{song.file.name}: {stage}"
            self._bars.update(self._tasks[song.file], description=words, completed=done, total=total)

    def finish(self, song: Song, text: str) -> None:
        with self._lock:
            if (task := self._tasks.pop(song.file, None)) is not None:
                self._bars.remove_task(task)
        super().finish(song, text)
