"""Write one stem to one file: PCM, directly or through an ffmpeg child, from a thread of its own."""

import errno
import queue
import struct
import threading
from logging import getLogger
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ezstems.audio.ffmpeg import Child, command
from ezstems.audio.outputs import FORMATS, PCM, Format
from ezstems.audio.peaks import Meter
from ezstems.errors import EncodingFailed

logger = getLogger(__name__)

CHANNELS, SAMPLE_RATE_HZ = 2, 44_100
QUEUE_BLOCKS = 1
FULL_SCALE = 32_768
PCM_CHUNK_SAMPLES = 16_384  # converted at a time: they stay in the cache
RIFF_LIMIT_BYTES = 0xFFFFFFFF
INTEGERS, FLOATS = 1, 3  # WAVE's format tags


class Sink(Protocol):
    """Take the PCM of one stem, in the samples of its format; whatever fails is an OSError."""

    def write(self, pcm: np.ndarray) -> None:
        """Write samples (n, 2)."""

    def close(self) -> None:
        """Complete the file."""

    def interrupt(self) -> None:
        """Make a `write` that is waiting in another thread return."""

    def abort(self) -> None:
        """Let go of the file as it is."""


class Wav:
    """Write a RIFF file, an RF64 one above 4 GiB (EBU Tech 3306: its `ds64` takes the place of a `JUNK` chunk)."""

    def __init__(self, path: Path, samples: np.dtype[Any]) -> None:
        self._samples = samples
        self._file = path.open("wb", buffering=0)
        self._data_bytes = 0
        self._file.seek(len(self._header()))  # written at the end: a file that was cut short is no WAV

    def _header(self) -> bytes:
        return wav_header(self._samples, self._data_bytes)

    def write(self, pcm: np.ndarray) -> None:
        """Write samples (n, 2)."""
        rest = pcm.data.cast("B")
        self._data_bytes += len(rest)
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Write the header, now that the sizes are known."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def interrupt(self) -> None:
        """Do nothing: a disk doesn't keep anybody waiting."""

    def abort(self) -> None:
        """Let go of the file as it is."""
        self._file.close()


def wav_header(samples: np.dtype[Any], data_bytes: int) -> bytes:
    """Return what precedes so many bytes of samples in a WAV file."""
    block_bytes = CHANNELS * samples.itemsize
    blocks, is_float = data_bytes // block_bytes, samples.kind == "f"
    fmt = struct.pack("<HHIIHH", FLOATS if is_float else INTEGERS, CHANNELS, SAMPLE_RATE_HZ,
                      SAMPLE_RATE_HZ * block_bytes, block_bytes, 8 * samples.itemsize)  # fmt: skip
    # What isn't integers says that its format has no extensions, and, in a chunk of 12 bytes, how long it is.
    fmt += bytes(2) if is_float else b""
    riff_bytes = 56 + len(fmt) + (12 if is_float else 0) + data_bytes  # all but the first 8
    wide = riff_bytes > RIFF_LIMIT_BYTES
    fact = struct.pack("<4sII", b"fact", 4, 0xFFFFFFFF if wide else blocks) if is_float else b""
    sizes = struct.pack("<QQQI", riff_bytes, data_bytes, blocks, 0) if wide else bytes(28)
    return b"".join((
        struct.pack("<4sI4s", b"RF64" if wide else b"RIFF", min(riff_bytes, RIFF_LIMIT_BYTES), b"WAVE"),
        struct.pack("<4sI", b"ds64" if wide else b"JUNK", len(sizes)), sizes,
        struct.pack("<4sI", b"fmt ", len(fmt)), fmt, fact,
        struct.pack("<4sI", b"data", RIFF_LIMIT_BYTES if wide else data_bytes),
    ))  # fmt: skip


class Encoder:
    """Pipe PCM into an ffmpeg child."""

    def __init__(self, path: Path, output: Format) -> None:
        raw = ("-f", output.pcm, "-ar", str(SAMPLE_RATE_HZ), "-ac", str(CHANNELS), "-i", "pipe:0")
        same_bits = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
        self._child = Child(command("-y", *raw, *same_bits, *output.encoder, f"file:{path}"), reads=True)

    def write(self, pcm: np.ndarray) -> None:
        """Write samples (n, 2)."""
        assert self._child.process.stdin is not None
        rest = pcm.data.cast("B")
        try:
            while rest:
                rest = rest[self._child.process.stdin.write(rest) :]
        except BrokenPipeError:
            self.close()
            raise

    def close(self) -> None:
        """Wait until the child has completed the file."""
        if code := self._child.wait():
            # Its exit code is the low byte of its error, and that of the system's errors the errno, negative.
            number = 256 - code if code > 0 else 0
            raise OSError(number, f"ffmpeg ended with {code}: {self._child.stderr()}")

    def interrupt(self) -> None:
        """Kill the child, which breaks the pipe."""
        self._child.process.kill()

    def abort(self) -> None:
        """Kill the child."""
        self._child.kill()


class Writer:
    """Write a stem from a thread: a context whose end completes the file, or, on an error, drops it."""

    def __init__(self, path: Path, output: str) -> None:
        """Open `path` for one of `FORMATS`; raise EncodingFailed where that is impossible."""
        # Of what is written; to be read when the context has ended.
        self.meter, self.clipped = Meter(), 0
        self._path = path
        self._output = FORMATS[output]
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(QUEUE_BLOCKS)
        self._dropped = False
        self._error: BaseException | None = None
        try:
            is_wav, samples = self._output.is_wav, PCM[self._output.pcm]
            self._sink: Sink = Wav(path, samples) if is_wav else Encoder(path, self._output)
        except OSError as error:
            self._fail(error)
            self._check()
        self._thread = threading.Thread(target=self._run, name=f"write-{path.name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # as many threads as there may be
            self._sink.abort()
            self._fail(OSError(errno.EAGAIN, str(error)))
            self._check()

    def write(self, block: np.ndarray) -> None:
        """Queue float32 samples (n, 2), full scale 1.0; a format that clips loses what is above.

        Raises:
            EncodingFailed: an earlier block could not be written.
        """
        self._check()
        self._queue.put(block)

    def finish(self) -> None:
        """Say that no more blocks come; the file is complete when the context ends."""
        self._queue.put(None)

    def _run(self) -> None:
        while (block := self._queue.get()) is not None:
            if self._error is None and not self._dropped:  # else the queue is only emptied, so that nobody waits
                try:
                    self._sink.write(self._converted(block))
                except BaseException as error:  # whatever it is, nobody may wait for a thread that has ended
                    self._fail(error)

    def _converted(self, block: np.ndarray) -> np.ndarray:
        pcm, clipped = pcm16(block)
        self.meter.add(pcm)  # while the cache has it
        if not self._output.clips:
            return np.ascontiguousarray(block, PCM[self._output.pcm])
        self.clipped += clipped
        return pcm

    def _fail(self, error: BaseException) -> None:
        if not self._dropped:
            stack = None if isinstance(error, OSError) else error
            logger.error("writing %s: %s", self._path, error, exc_info=stack)
            self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise EncodingFailed(f"The stem '{self._path.stem}' could not be written.") from self._error

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            self._dropped = True
            self._sink.interrupt()
            self.finish()
        self._thread.join()
        if kind is not None or self._error is not None:
            self._sink.abort()
        else:
            try:
                self._sink.close()
            except Exception as failure:
                self._sink.abort()
                self._fail(failure)
        if kind is None:
            self._check()


def pcm16(block: np.ndarray) -> tuple[np.ndarray, int]:
    """Round float32 samples, full scale 1.0, to little-endian int16; return them, and how many were clipped.

    Clipped is what would round to more than full scale on its side. +1.0 itself becomes the number below it, 16 bits
    having none for it, and isn't counted: what a 16-bit file holds, or one made up to full scale, passes, round-off
    included.
    """
    clipped, pcm, scaled = 0, np.empty(block.shape, "<i2"), np.empty((PCM_CHUNK_SAMPLES, *block.shape[1:]), np.float32)
    for start in range(0, len(block), PCM_CHUNK_SAMPLES):
        chunk = block[start : start + PCM_CHUNK_SAMPLES]
        part = scaled[: len(chunk)]
        np.multiply(chunk, np.float32(FULL_SCALE), out=part)
        np.rint(part, out=part)
        if part.max() > FULL_SCALE or part.min() < -FULL_SCALE:  # of most chunks this is all that it costs
            clipped += int(np.count_nonzero(np.abs(part) > FULL_SCALE))
        np.clip(part, -FULL_SCALE, FULL_SCALE - 1, out=part)
        pcm[start : start + len(chunk)] = part
    return pcm, clipped
