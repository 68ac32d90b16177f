"""Decode an upload: what each extension may hold, a quick check, and a stream of float blocks."""

import queue
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

import numpy as np

from ezstems.audio import mpeg
from ezstems.audio.ffmpeg import Child, command
from ezstems.errors import DecodingFailed, UnreadableAudio

logger = getLogger(__name__)

SAMPLE_RATE_HZ = 44_100
CHECK_SECONDS = 1  # of audio: enough for any codec's first frames
CHECK_TIMEOUT_SECONDS = 10  # an honest file needs a tenth of a second
STALL_SECONDS = 60  # ffmpeg decodes hundreds of times faster than real time: this long without a block is a hang
AHEAD_BLOCKS = 2
LOUDEST = 65_536.0  # twice what a float file on the 16-bit scale holds; a tile's squared magnitudes stay finite

# Two equal channels at its own level from a mono file, as Spleeter repeats it (ffmpeg's own matrix takes 3 dB off);
# anything above stereo is down-mixed by ffmpeg, its gains normalised so that nothing is louder than full scale. In
# blocks: frames of 1152 samples, each handed from thread to thread, take a quarter more of the processor.
STEREO = (
    "asetnsamples=n=16384:p=0,aformat=sample_fmts=flt:channel_layouts=mono|stereo,pan=stereo|FL<FL+FC|FR<FR+FC,"
    f"aresample={SAMPLE_RATE_HZ},aformat=sample_fmts=flt"
)


@dataclass(frozen=True)
class Demuxer:
    """Say what ffmpeg may make of a file: one demuxer, and the decoders allowed inside it."""

    name: str
    decoders: tuple[str, ...]
    options: tuple[str, ...] = ()
    magic: tuple[tuple[int, bytes], ...] = ()  # (offset, bytes): one of these must be there


DEMUXERS = {
    "mp3": Demuxer("mp3", ("mp3float",)),
    "wav": Demuxer(
        "wav",
        (
            *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_s64le", "pcm_f32le", "pcm_f64le"),
            *("pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_alaw", "pcm_mulaw"),
            *("adpcm_ms", "adpcm_ima_wav", "mp3float"),
        ),
        magic=tuple((0, name) for name in (b"RIFF", b"RIFX", b"RF64", b"BW64")),
    ),
    "m4a": Demuxer(
        "mov",
        ("aac", "alac", "mp3float", "ac3", "eac3", "flac", "opus"),
        ("-enable_drefs", "0", "-use_absolute_path", "0"),
        magic=tuple((4, name) for name in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")),
    ),
}


def _input(path: Path, extension: str) -> list[str]:
    """Build the arguments that open a file with its extension's demuxer, and nothing else by way of it."""
    demuxer = DEMUXERS[extension]
    return [
        *("-protocol_whitelist", "file", "-format_whitelist", demuxer.name),
        *("-codec_whitelist", ",".join(demuxer.decoders), *demuxer.options),
        *("-f", demuxer.name, "-vn", "-sn", "-dn", "-i", f"file:{path}", "-map", "0:a:0"),
    ]


def _output(*limits: str) -> list[str]:
    """Build the arguments that write float stereo at 44,100 Hz to stdout."""
    return [*limits, "-rematrix_maxval", "1", "-af", STEREO, "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]


def _known(extension: str) -> str:
    extension = extension.lower().lstrip(".")
    if extension not in DEMUXERS:
        raise UnreadableAudio(f"extension='{extension}' must be {', '.join(DEMUXERS)}")
    return extension


def check(path: Path, extension: str) -> None:
    """Decode the first second as the kind of file that the extension names.

    Raises:
        UnreadableAudio: the content is of another kind, damaged, or holds no audio.
    """
    extension = _known(extension)
    if path.stat().st_size == 0:
        raise UnreadableAudio("The file is empty; it must hold audio.")
    kind = extension.upper()
    if not _looks_like(path, extension):
        raise UnreadableAudio(f"The file's content is not {kind} audio, as its extension .{extension} says.")
    arguments = command(*_input(path, extension), *_output("-t", str(CHECK_SECONDS)))
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECK_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        logger.warning("check of %s: no first second within %s s", path.name, CHECK_TIMEOUT_SECONDS)
        raise UnreadableAudio(f"The file's beginning could not be decoded as {kind} audio in time.") from error
    if len(done.stdout) < 8:
        reason = ascii(done.stderr[-2000:].decode(errors="replace"))
        logger.info("check of %s: exit code %s: %s", path.name, done.returncode, reason)
        raise UnreadableAudio(f"The file holds no decodable {kind} audio.")


def _looks_like(path: Path, extension: str) -> bool:
    """Tell whether the first bytes are of the extension's kind: ffmpeg's MP3 demuxer would find frames in any noise."""
    if extension == "mp3":
        return mpeg.starts_with_frames(path)
    with path.open("rb") as file:
        head = file.read(16)
    return any(head[offset : offset + len(name)] == name for offset, name in DEMUXERS[extension].magic)


class Decoding(Iterator[np.ndarray]):
    """Iterate over the blocks of a file, decoded ahead by a thread; `close` ends child and thread."""

    def __init__(self, path: Path, block_samples: int) -> None:
        self._name = path.name
        self._block_samples = block_samples
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(AHEAD_BLOCKS)
        self._closed = False
        self._ended = False
        self.samples = 0
        self._child = Child(command(*_input(path, _known(path.suffix)), *_output(), loglevel="info"), writes=True)
        self._reader = threading.Thread(target=self._read, name="decode-ahead", daemon=True)
        self._reader.start()

    @property
    def duration_seconds(self) -> float | None:
        """Return what the file's header claims, None where it says nothing (or nothing yet)."""
        return self._child.duration_seconds

    def _read(self) -> None:
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
        self._put(None)

    def _put(self, block: np.ndarray | None) -> None:
        if not self._closed:  # `close` empties the queue after setting it, so that this can't block for ever
            self._queue.put(block)

    def __next__(self) -> np.ndarray:
        if self._ended:
            raise StopIteration
        try:
            block = self._queue.get(timeout=STALL_SECONDS)
        except queue.Empty:
            logger.warning("decoding of %s stalled: %s", self._name, self._child.stderr())
            raise UnreadableAudio("The file could not be decoded: the decoder made no progress.") from None
        if block is not None:
            self.samples += len(block)
            return block
        self._ended = True
        code = self._child.wait()
        if code:
            logger.warning("decoding of %s ended with %s after %s samples: %s",
                           self._name, code, self.samples, self._child.stderr())  # fmt: skip
        if self._child.was_stopped:
            # What came so far looks like a short file; it must not become a short result.
            raise DecodingFailed("The decoder was killed. Nothing is wrong with the file; upload it again.")
        if not self.samples:
            raise UnreadableAudio("The file holds no decodable audio.")
        raise StopIteration

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


def decode(path: Path, *, block_samples: int) -> Decoding:
    """Decode a file, named by its suffix, as far as it decodes.

    Yields float32 blocks of shape (block_samples, 2) at 44,100 Hz, full scale 1.0, the last one shorter.

    Raises:
        UnreadableAudio: nothing decodes, or the decoder hangs.
        DecodingFailed: the decoder was killed.
    """
    return Decoding(path, block_samples)
