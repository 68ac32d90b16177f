"""The rows of the table, and what each is measured by."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic

from ezstems.audio.separate import STEMS
from ezstems.network.cpu import cores
from tests.benchmarks import fresh, table
from tests.benchmarks.baseline import Baseline
from tests.benchmarks.client import new_client, warm_client
from tests.benchmarks.machine import memory_mb
from tests.benchmarks.song import make_song
from tests.benchmarks.table import tell

SONG_MINUTES, CLIP_SECONDS = 3, 11
IDLE_SECONDS = 5
# The targets: so many times Spleeter's speed; megabytes; seconds; ratios.
TIMES_WARM = {2: {"wav": 10, "mp3": 6}, 4: {"wav": 8}}
TIMES_COMMAND = 14
PEAK_MB = {2: 700, 4: 900, 5: 1000}
IDLE_MB = 350
COLD_SECONDS = 5
BUSY_RATIO, LENGTH_RATIO = 1.15, 1.1


class Rows:
    """Measure and print row after row; keep what the floor is held against."""

    def __init__(
        self, models: Path, folder: Path, spleeter: Baseline | None, rounds: int, long_minutes: float
    ) -> None:
        """Make the songs; measure nothing."""
        self._models = models
        self._folder = folder
        self._spleeter = spleeter
        self._spleeter_mb: dict[int, float] = {}
        self._rounds = rounds
        self._long_minutes = long_minutes
        self._long_song = make_song(long_minutes * 60, folder)
        self.song = make_song(SONG_MINUTES * 60, folder)
        self.http_seconds: dict[tuple[int, str], float] = {}
        self.wall_seconds = self.cpu_seconds = 0.0  # of the engine alone, for 2 stems as WAV

    def print(self) -> None:
        """Print the whole table."""
        table.head("what", "ours", "Spleeter's", "ratio", "target", "met")
        for stems in TIMES_WARM:
            self._speed(stems)
        for stems in PEAK_MB:
            self._peak(stems, self.song, SONG_MINUTES)
        self._peak(2, self._long_song, self._long_minutes)
        self._idle()
        self._cold()
        self._engine()

    def _medians(self, what: str, *measures: Callable[[], float]) -> list[float]:
        """Take turns; return the median of each, the first round not counted."""
        taken: list[tuple[float, ...]] = []
        for number in range(1 + self._rounds):
            taken.append(tuple(measure() for measure in measures))
            tell(f"{what}: round {number} of {self._rounds}: {' and '.join(f'{one:.2f} s' for one in taken[-1])}")
        return [median(column) for column in zip(*taken[1:], strict=True)]

    def _speed(self, stems: int) -> None:
        """Print how long a client of a warm server waits, and how long Spleeter takes."""
        spleeter = self._spleeter
        with warm_client(self._models, self._folder) as client:
            if spleeter:
                spleeter.start(stems)
            for output, least in TIMES_WARM[stems].items():
                what = f"{SONG_MINUTES} minutes, {stems} stems, {output.upper()}: upload to ZIP in hand"
                measures = [partial(client.separate, self.song, stems, output)]
                if spleeter:
                    measures.append(partial(spleeter.separate, self.song, stems, output))
                medians = self._medians(what, *measures)
                self.http_seconds[stems, output] = medians[0]
                table.faster(what, medians, least)
            if spleeter:
                self._spleeter_mb[stems] = spleeter.peak_mb()
                spleeter.close()
            if stems == 2:
                what = f"{SONG_MINUTES} minutes, 2 stems, WAV: the same against the command `spleeter separate`"
                measures = [partial(client.separate, self.song, 2)]
                if spleeter:
                    measures.append(partial(spleeter.command, self.song))
                table.faster(what, self._medians(what, *measures), TIMES_COMMAND)

    def _peak(self, stems: int, song: Path, minutes: float) -> None:
        """Print the peak memory of a fresh server's process after one song."""
        what = f"peak memory of the server's process, {stems} stems, {minutes:g} minutes"
        with warm_client(self._models, self._folder) as client:
            tell(f"{what}: {client.separate(song, stems):.2f} s")
            peak_mb = memory_mb("VmHWM", *client.server.workers())
        theirs_mb = self._spleeter_mb.get(stems) if song == self.song else None
        table.within(what, peak_mb, PEAK_MB[stems], "MB", theirs_mb)

    def _idle(self) -> None:
        """Print what a server holds that has separated into 2, 4 and 5 stems and then rested."""
        what = "memory of an idle server's process that has separated into 2, 4 and 5 stems"
        with warm_client(self._models, self._folder, idle_seconds=IDLE_SECONDS) as client:
            for stems in STEMS:
                tell(f"{what}: {stems} stems: {client.separate(self.song, stems):.2f} s")
            client.server.logged(f"let go of {stems} stems")
            table.within(what, memory_mb("VmRSS", *client.server.workers()), IDLE_MB, "MB")

    def _cold(self) -> None:
        """Print how long the first job takes, the server's start included."""
        what = f"first job, {CLIP_SECONDS} seconds, 2 stems: server's start to ZIP in hand"
        clip = make_song(CLIP_SECONDS, self._folder)
        with new_client(self._models, self._folder) as client:

            def first_job() -> float:
                started = monotonic()
                with client.server:
                    client.separate(clip, 2)
                    seconds = monotonic() - started
                    client.server.stop()
                return seconds

            table.within(what, *self._medians(what, first_job), COLD_SECONDS, "s")

    def _engine(self) -> None:
        """Print how busy the engine keeps the cores, and that neither speed nor memory depends on the length."""
        short, long = [], []
        for number in range(1, self._rounds + 1):
            short.append(fresh.measure(SONG_MINUTES, 2, self._models, self._folder, runs=2))
            long.append(fresh.measure(self._long_minutes, 2, self._models, self._folder, runs=1))
            tell(f"the engine alone: round {number} of {self._rounds}: {short[-1]} and {long[-1]}")
        self.wall_seconds = median(one.wall_seconds for one in short)
        self.cpu_seconds = median(one.cpu_seconds for one in short)
        figures = f"{self.wall_seconds:.2f} s of {self.cpu_seconds:.2f} CPU-s on {cores()} cores"
        busy = median(one.wall_seconds * cores() / one.cpu_seconds for one in short)
        table.alike("the engine alone, 2 stems: wall against CPU time over cores", figures, busy, BUSY_RATIO)
        lengths = f"{self._long_minutes:g} minutes against {SONG_MINUTES}"
        paces = [self.wall_seconds / SONG_MINUTES, median(one.wall_seconds for one in long) / self._long_minutes]
        figures = f"{paces[1]:.3f} s and {paces[0]:.3f} s a minute"
        table.alike(f"the engine alone, {lengths}: time", figures, paces[1] / paces[0], LENGTH_RATIO)
        peaks_mb = [median(one.peak_mb for one in measured) for measured in (short, long)]
        figures = f"{peaks_mb[1]:.0f} MB and {peaks_mb[0]:.0f} MB"
        table.alike(f"the engine alone, {lengths}: peak memory", figures, peaks_mb[1] / peaks_mb[0], LENGTH_RATIO)
