"""Decode an upload: a quick check, and a stream of float blocks."""

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from logging import getLogger
from pathlib import Path

import numpy as np

from ezstems.audio.ffmpeg import UNABLE, command, decoder
from ezstems.audio.kinds import DEMUXERS, find, input_arguments, known_extension
from ezstems.audio.length import too_long_error
from ezstems.errors import DecodingFailed, UnreadableAudio

logger = getLogger(__name__)

SAMPLE_RATE_HZ = 44_100
CHECK_TIMEOUT_SECONDS, CHECK_CPU_SECONDS = 30, 5  # an honest file needs a tenth of a second
# ffmpeg decodes hundreds of times faster than real time: so many of these without a block are a hang. Each counts one,
# however long it took: a process that was stopped for an hour has waited for nothing.
STALL_ROUNDS, ROUND_SECONDS = 60, 1.0
# Of processor time: thirty times what an honest file needs on one slow core, and no more than its separation takes.
CPU_SECONDS, CPU_SECONDS_A_SECOND = 60, 0.05
KILLED = "The decoder was killed. Nothing is wrong with the file; upload it again."
STALLED = "The decoder made no progress on the server."
AHEAD_BLOCKS = 2
LOUDEST = 65_536.0  # twice what a float file on the 16-bit scale holds; a tile's squared magnitudes stay finite

# Two equal channels at its own level from a mono file, as Spleeter repeats it (ffmpeg's own matrix takes 3 dB off);
# anything above stereo is down-mixed by ffmpeg, its gains normalised so that nothing is louder than full scale.
STEREO = (
    "aformat=sample_fmts=fltp|flt:channel_layouts=mono|stereo,pan=stereo|FL<FL+FC|FR<FR+FC,"
    f"aresample={SAMPLE_RATE_HZ},aformat=sample_fmts=flt"
)
# In blocks: ffmpeg's frames of 1152 samples would be that many writes. Made behind the filters: these are built anew
# where a file changes its channels or rate, and what they hold then is lost.
BLOCKS = ("-bsf:a", "pcm_rechunk=nb_out_samples=16384:pad=0", "-flush_packets", "0")
# Float stereo at 44,100 Hz to stdout.
OUTPUT = ("-rematrix_maxval", "1", "-af", STEREO, "-c:a", "pcm_f32le", *BLOCKS, "-f", "f32le", "pipe:1")


def check(path: Path, extension: str) -> None:
    """Decode the first block as the kind of file that the extension names.

    Raises:
        UnreadableAudio: the content is of another kind, damaged, or holds no audio.
        DecodingFailed: the decoder was killed, or the system failed it.
    """
    extension = known_extension(extension)
    if path.stat().st_size == 0:
        raise UnreadableAudio("The file is empty; it must hold audio.")
    kind = extension.upper()
    if find(path, extension) is None:
        raise UnreadableAudio(f"The file's content is not {kind} audio, as its extension .{extension} says.")
    arguments = command(*input_arguments(path, extension), *OUTPUT, loglevel="info")
    with decoder(arguments, cpu_seconds=CHECK_CPU_SECONDS, awaited=True) as child:
        try:
            if child.read(1, CHECK_TIMEOUT_SECONDS):
                return  # which ends the child
        except TimeoutError as error:
            logger.warning("check of %s: nothing within %s s", path.name, CHECK_TIMEOUT_SECONDS)
            raise UnreadableAudio(f"The file's beginning could not be decoded as {kind} audio in time.") from error
        code = child.wait()
        logger.info("check of %s: exit code %s: %s", path.name, code, child.stderr())
        if child.was_stopped:
            raise DecodingFailed(KILLED)
        if child.system_failed(path):
            logger.error("check of %s: exit code %s: %s", path.name, code, child.stderr())
            raise DecodingFailed(UNABLE)
        holds = DEMUXERS[extension].holds
        if holds and child.found_no_sound:
            raise UnreadableAudio("The file holds no sound: there must be a sound track in it.")
        raise UnreadableAudio(f"The file holds no decodable {kind} audio{f', which is {holds}' if holds else ''}.")


class Decoding(Iterator[np.ndarray]):
    """Iterate over the blocks of a file, decoded ahead by a thread; `close` ends child and thread."""

    def __init__(self, path: Path, block_samples: int, longest_seconds: float | None) -> None:
        self._path = path
        self._name = path.name
        self._longest_seconds = longest_seconds
        self._block_samples = block_samples
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(AHEAD_BLOCKS)
        self._closed = False
        self._ended = False
        self._error: BaseException | None = None
        self.samples = 0
        arguments = command(*input_arguments(path, known_extension(path.suffix)), *OUTPUT, loglevel="info")
        cpu_seconds = None if longest_seconds is None else round(CPU_SECONDS + CPU_SECONDS_A_SECOND * longest_seconds)
        self._child = decoder(arguments, cpu_seconds=cpu_seconds)
        self._reader = threading.Thread(target=self._read, name="decode-ahead", daemon=True)
        try:
            self._reader.start()
        except RuntimeError as error:  # as many threads as there may be
            self._child.kill()
            raise DecodingFailed(UNABLE) from error

    @property
    def duration_seconds(self) -> float | None:
        """Return what the file's header claims, None where it says nothing (or nothing yet)."""
        return self._child.duration_seconds

    def _read(self) -> None:
        try:
            self._read_blocks()
        except BaseException as error:  # for whoever waits for the next block
            self._error = error
        self._put(None)

    def _read_blocks(self) -> None:
        assert self._child.process.stdout is not None
        ended = False
        while not ended and not self._closed:
            block = np.empty((self._block_samples, 2), np.float32)
            target, filled = block.data.cast("B"), 0
            while filled < len(target) and not ended:
                count = self._child.process.stdout.readinto(target[filled:])  # type: ignore[attr-defined]
                ended = not count
                filled += count or 0
            if samples := filled // 8:
                self._put(_audible(block[:samples]))

    def _put(self, block: np.ndarray | None) -> None:
        if not self._closed:  # `close` empties the queue after setting it, so that this can't block for ever
            self._queue.put(block)

    def __next__(self) -> np.ndarray:
        if self._ended:
            raise StopIteration
        block = self._next_block()
        if block is not None:
            self.samples += len(block)
            if self._longest_seconds is not None and self.samples > round(self._longest_seconds * SAMPLE_RATE_HZ):
                raise too_long_error(self._longest_seconds)
            return block
        self._ended = True
        if self._error is not None:
            raise self._error
        code = self._child.wait()
        if code:
            logger.warning("decoding of %s ended with %s after %s samples: %s",
                           self._name, code, self.samples, self._child.stderr())  # fmt: skip
        if self._child.was_stopped:
            # What came so far looks like a short file; it must not become a short result.
            raise DecodingFailed(KILLED)
        if self._child.system_failed(self._path):
            raise DecodingFailed(UNABLE)
        if self._child.gave_up:
            raise UnreadableAudio("The file could not be decoded: it takes the decoder too much time or memory.")
        if not self.samples:
            raise UnreadableAudio("The file holds no decodable audio.")
        raise StopIteration

    def _next_block(self) -> np.ndarray | None:
        for _ in range(STALL_ROUNDS):
            with suppress(queue.Empty):
                return self._queue.get(timeout=ROUND_SECONDS)
        # A disk that hangs, most likely; were it the file, its upload would only be kept for nothing.
        logger.error("decoding of %s stalled: %s", self._name, self._child.stderr())
        raise DecodingFailed(STALLED)

    def close(self) -> None:
        """End the child and the thread; harmless when they have ended."""
        self._ended = self._closed = True
        self._child.process.kill()
        while self._reader.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._reader.join()
        self._child.wait()

    def __enter__(self) -> "Decoding":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _audible(block: np.ndarray) -> np.ndarray:
    """Replace what is no sample, in place: NaN and infinity by 0, absurd levels by the loudest sane one."""
    if not (block.max() <= LOUDEST and block.min() >= -LOUDEST):  # NaN fails both
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        np.clip(block, -LOUDEST, LOUDEST, out=block)
    return block


def decode(path: Path, *, block_samples: int, longest_seconds: float | None = None) -> Decoding:
    """Decode a file, named by its suffix, as far as it decodes.

    Yields float32 blocks of shape (block_samples, 2) at 44,100 Hz, full scale 1.0, the last one shorter.

    Raises:
        UnreadableAudio: nothing decodes, the decoder gives up, or more comes than the longest duration.
        DecodingFailed: the decoder was killed, or hangs, or the system failed it.
    """
    return Decoding(path, block_samples, longest_seconds)
