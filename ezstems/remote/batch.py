"""Several songs at a server: the next is sent while those before are waited for, in their order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from queue import Queue
from threading import Event, Thread
from typing import Protocol

from ezstems.errors import RemoteFailed
from ezstems.remote import song as songs
from ezstems.remote.api import Api, Server, Stopped
from ezstems.remote.song import Song

STOP_SECONDS = 5.0


class Report(Protocol):
    """Tell the user how the songs fare."""

    def stage(self, song: Song, stage: str, done: float, total: float | None) -> None:
        """Show what happens to a song, and how much of it has."""

    def say(self, song: Song, text: str) -> None:
        """Tell of something that is waited for."""

    def finish(self, song: Song, text: str) -> None:
        """Tell that a song's stems are there, or why they aren't."""


class Batch:
    """Separate songs at a server: one thread sends them, the caller's waits and fetches."""

    def __init__(
        self,
        server: Server,
        all_songs: Sequence[Song],
        fields: Mapping[str, str],
        report: Report,
        *,
        anew: bool = False,
        longest_wait_seconds: int = 60,
    ) -> None:
        self._server, self._songs, self._fields, self._report = server, all_songs, fields, report
        self._anew, self._longest_wait_seconds = anew, longest_wait_seconds
        self._sent: Queue[tuple[Song, Exception | None]] = Queue()
        self._unanswered: Song | None = None
        self._sender = Thread(target=self._send, name="send", daemon=True)

    def run(self) -> bool:
        """Separate them all; tell whether every one succeeded. One that fails doesn't stop the others."""
        self._sender.start()
        good = True
        for _ in self._songs:
            song, error = self._sent.get()
            try:
                if error is not None:
                    raise error
                text = self._finish(song)
            except (RemoteFailed, OSError) as failure:
                good = False
                self._report.finish(song, f"{song.file}: {_in_words(failure)}")
            else:
                self._report.finish(song, f"{song.target}: {text}")
        return good

    def stop(self) -> None:
        """Begin nothing more."""
        self._server.stopping.set()
        self._sender.join(STOP_SECONDS)

    def cancel(self) -> None:
        """Have the server delete the jobs that it hasn't finished; tell of each what becomes of it."""
        server = replace(self._server, stopping=Event(), is_reached=False)
        if (song := self._unanswered) is not None and song.job is None and self._sender.is_alive():
            self._report.finish(song, f"{song.file}: the server didn't answer yet; it may make a job of it")
        for song in self._songs:
            if song.job is None or song.is_finished:
                continue
            try:
                with Api(server, partial(self._report.say, song)) as api:
                    songs.delete(api, song)
            except RemoteFailed as error:
                self._report.finish(song, f"{song.file}: job {song.job} goes on at the server ({error})")
            else:
                self._report.finish(song, f"{song.file}: job {song.job} is deleted at the server")

    def _send(self) -> None:
        for song in self._songs:
            error: Exception | None = None
            self._unanswered = song
            try:
                with Api(self._server, partial(self._report.say, song)) as api:
                    songs.send(api, song, self._fields, partial(self._report.stage, song), anew=self._anew)
                self._report.stage(song, songs.QUEUED, 0, None)
            except Stopped:
                return
            except Exception as failure:
                error = failure
            self._sent.put((song, error))

    def _finish(self, song: Song) -> str:
        show = partial(self._report.stage, song)
        with Api(self._server, partial(self._report.say, song)) as api:
            songs.wait(api, song, self._longest_wait_seconds, show)
            return songs.fetch(api, song, show) or "separated"


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
