"""Separate a file into stems, streaming: the engine behind the worker and the command line."""

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from time import monotonic
from typing import TypeVar

import numpy as np

from ezstems.audio import stft
from ezstems.audio.decode import SAMPLE_RATE_HZ, decode
from ezstems.audio.encode import Writer
from ezstems.audio.length import refuse_longer
from ezstems.audio.music import Heard, Listener, hear
from ezstems.audio.outputs import FORMATS, OUTPUTS
from ezstems.audio.peaks import Peaks
from ezstems.audio.stems import BANDS, CUTOFFS, STEMS
from ezstems.errors import BadInput, Interrupted
from ezstems.network.cpu import lower_priority
from ezstems.network.engine import TILES_IN_FLIGHT, Engine, Masks
from ezstems.network.networks import Networks

Waveforms = dict[str, np.ndarray]
Result = TypeVar("Result")
logger = getLogger(__name__)

IDLE_SECONDS = 600.0


@dataclass(frozen=True)
class Separation:
    """Say what a separation wrote: one file a stem, the samples in each, the weights that made them, their peaks.

    `clipped` counts samples of both channels by stem; stems without any are left out.
    """

    files: tuple[Path, ...]
    samples: int
    model: str
    peaks: Peaks
    clipped: Mapping[str, int] = field(default_factory=dict)


def separate_blocks(
    blocks: Iterable[np.ndarray],
    engine: Engine,
    stems: tuple[str, ...],
    *,
    average: bool = False,
    listener: Listener | None = None,
) -> Generator[dict[str, np.ndarray], None, None]:
    """Separate a stream of blocks, a few tiles of it in memory at a time.

    Takes float32 blocks (n, 2) at 44,100 Hz. Yields float32 blocks (n, 2) by stem, one a tile; a stem's blocks
    together are as long as the input. `average` extends the masks over the whole band, so that the stems add up to
    the input; without it nothing is left above the network's band. `listener` hears the input.
    """
    listener = Listener() if listener is None else listener
    idle: queue.SimpleQueue[tuple[stft.Workspace, Masks]] = queue.SimpleQueue()
    for _ in range(TILES_IN_FLIGHT):
        idle.put((stft.Workspace(engine.bins, average), engine.runner()))

    def work(tile: np.ndarray, count: int) -> tuple[Waveforms, Heard]:
        lane = workspace, network = idle.get()
        try:
            magnitudes = workspace.magnitudes(tile, stft.frames(count))
            heard = hear(magnitudes, stft.frames(count))
            masks = network(magnitudes)
            return {stem: workspace.waveform(masks[stem]) for stem in stems}, heard
        finally:
            idle.put(lane)

    def listened(results: Iterable[tuple[tuple[Waveforms, Heard], int]]) -> Iterator[tuple[Waveforms, int]]:
        for (waveforms, heard), count in results:
            listener.add(heard)
            yield waveforms, count

    with closing(_in_order(work, stft.tiles(blocks))) as results:
        yield from stft.overlap_add(listened(results))


def _in_order(
    work: Callable[[np.ndarray, int], Result], tiles: Iterator[tuple[np.ndarray, int]]
) -> Generator[tuple[Result, int], None, None]:
    """Work on `TILES_IN_FLIGHT` tiles at once, one more waiting; yield the results in order, with the tiles' counts."""
    pending: deque[tuple[Future[Result], int]] = deque()
    pool = ThreadPoolExecutor(TILES_IN_FLIGHT, thread_name_prefix="tile", initializer=lower_priority)
    try:
        for tile, count in tiles:
            pending.append((pool.submit(work, tile, count), count))
            if len(pending) > TILES_IN_FLIGHT:
                future, count = pending.popleft()
                yield future.result(), count
        while pending:
            future, count = pending.popleft()
            yield future.result(), count
    finally:
        pool.shutdown(cancel_futures=True)


class Separator:
    """Separate files with the weights and the engine that the settings name."""

    def __init__(
        self,
        models_directory: Path,
        model: str = "auto",
        *,
        engine: str = "auto",
        precision: str = "auto",
        cutoff: str = CUTOFFS[0],
        idle_seconds: float = IDLE_SECONDS,
        max_duration_seconds: float | None = None,
    ) -> None:
        """Remember the settings; nothing is loaded."""
        self._networks = Networks(models_directory, model, engine, precision, idle_seconds)
        self._cutoff = cutoff
        self._longest_seconds = max_duration_seconds

    def label(self) -> str:
        """Name the weights that each number of stems would use; raise ModelMissing where there are none."""
        return ", ".join(self._networks.weights(stems).label for stems in STEMS)

    def warm(self, stems: int = 2) -> None:
        """Load the network of a number of stems and run it once, so that the first file need not wait."""
        with self._networks.use(stems, BANDS[self._cutoff][0]) as engine:
            started = monotonic()
            engine.runner()(np.zeros((stft.TILE_FRAMES, engine.bins, 2), np.float32))
            logger.info("warmed %s stems in %.1f s", stems, monotonic() - started)

    def drop_idle_networks(self) -> None:
        """Give back the memory of networks that were long not used; called every now and then."""
        self._networks.drop_idle()

    def __call__(
        self,
        source: Path,
        directory: Path,
        *,
        stems: int,
        cutoff: str | None = None,
        output: str = "wav",
        progress: Callable[[float], None] = lambda percent: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Separation:
        """Write `directory/<stem>.<extension of output>` for each stem, each exactly as long as the decoded source.

        `progress` is called with 0 to 100 after each tile, estimated from the duration in the file's header (it
        stays 0 where that has none), and with 0 while it gets ready; `stopping` is asked after each tile.

        Raises:
            UnreadableAudio: nothing decodes, or more than the longest duration.
            DecodingFailed: the decoder was killed.
            EncodingFailed: a stem could not be written.
            Interrupted: `stopping` returned true.
            ModelMissing, ConfigurationError: there are no weights, or they don't fit.
        """
        cutoff = self._cutoff if cutoff is None else cutoff
        for name, value, allowed in (("stems", stems, STEMS), ("cutoff", cutoff, CUTOFFS), ("output", output, OUTPUTS)):
            if value not in allowed:
                raise BadInput(f"{name}={value!r} must be one of {', '.join(map(str, allowed))}")
        started = monotonic()
        configuration, average = BANDS[cutoff]
        names, label = STEMS[stems], self._networks.weights(stems).label
        files = tuple(directory / FORMATS[output].filename(name) for name in names)
        if self._longest_seconds is not None:
            refuse_longer(source, self._longest_seconds)
        progress(0.0)
        listener = Listener()
        with ExitStack() as stack:
            engine = stack.enter_context(self._networks.use(stems, configuration, lambda: progress(0.0)))
            decoding = stack.enter_context(
                decode(source, block_samples=stft.TILE_SAMPLES, longest_seconds=self._longest_seconds)
            )
            writers = [stack.enter_context(Writer(file, output)) for file in files]
            separated = stack.enter_context(
                closing(separate_blocks(decoding, engine, names, average=average, listener=listener))
            )
            samples = 0
            progress(0.0)
            if stopping():
                raise Interrupted(f"'{source.name}' was interrupted")
            for blocks in separated:
                for name, writer in zip(names, writers, strict=True):
                    writer.write(blocks[name])
                samples += len(blocks[names[0]])
                progress(_percent(samples, decoding.duration_seconds))
                if stopping():
                    raise Interrupted(f"'{source.name}' was interrupted")
            for writer in writers:
                writer.finish()
        progress(100.0)
        seconds = samples / SAMPLE_RATE_HZ
        logger.info("separated %.1f s into %s %s in %.1f s, %s", seconds, stems, output, monotonic() - started, label)
        meters = {name: writer.meter for name, writer in zip(names, writers, strict=True)}
        clipped = {name: writer.clipped for name, writer in zip(names, writers, strict=True) if writer.clipped}
        return Separation(files, samples, label, Peaks.of(meters, listener.music()), clipped)


def _percent(samples: int, duration_seconds: float | None) -> float:
    """Estimate the progress; 99 at most, since a header's duration may be wrong, 0 where it has none."""
    if not duration_seconds:
        return 0.0
    return min(99.0, 100.0 * samples / (duration_seconds * SAMPLE_RATE_HZ))
