"""Make a preview of a sound: Opus in chunks of four seconds, each a file that decodes by itself to its exact frames."""

import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from logging import getLogger
from pathlib import Path

from ezstems.audio.decode import CPU_SECONDS, SAMPLE_RATE_HZ, STEREO
from ezstems.audio.ffmpeg import UNABLE, command, decoder
from ezstems.audio.kinds import input_arguments, known_extension
from ezstems.audio.mixing import Source
from ezstems.audio.preview_ogg import PACKET_SAMPLES, opus_file, packets, pre_skip_of
from ezstems.errors import DecodingFailed, EncodingFailed, Interrupted
from ezstems.network.cpu import use_idle_scheduling

logger = getLogger(__name__)

CHUNK_FRAMES = 176_400  # 4 s, at Opus' own rate 192,000 samples: 200 packets
CHUNK_PACKETS = 200
# What a chunk's file holds before and behind its frames, for the filter that brings it to 44,100 Hz: 20 ms.
MARGIN_FRAMES, MARGIN_SAMPLES = 882, 960
# Before that, packets that are decoded and not heard: a decoder that begins in the middle needs 80 ms to be right.
LEAD_PACKETS = 8
LEAD_FRAMES = LEAD_PACKETS * CHUNK_FRAMES // CHUNK_PACKETS
FILE_PACKETS = LEAD_PACKETS + CHUNK_PACKETS + 2
FILE_SAMPLES = MARGIN_SAMPLES + CHUNK_PACKETS * PACKET_SAMPLES + MARGIN_SAMPLES
PREVIEW_MEDIA_TYPE = "audio/ogg"
# Of processor time for a second of sound: ten times what decoding and encoding take on a slow core.
CPU_SECONDS_A_SECOND = 0.3
_OPUS = ("-c:a", "libopus", "-b:a", "96k", "-vbr", "on", "-application", "audio", "-compression_level", "5")
_OGG = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact", "-page_duration", "200000", "-f", "ogg")
_RMS = re.compile(r"RMS level dB: (-?[\d.]+)")


def upload_arguments(path: Path) -> list[str]:
    """Return what opens an upload, as its separation does."""
    return input_arguments(path, known_extension(path.suffix))


def stem_arguments(stem: Source, output: str) -> list[str]:
    """Return what opens a stem that the server wrote in a format."""
    return [*stem.arguments(output), "-map", "0:a:0"]


class Preview:
    """Iterate over the files of a sound's chunks; when they are over, `rms_db` is how loud it is, None for silence."""

    def __init__(self, opened: Sequence[str], frames: int, stopping: Callable[[], bool]) -> None:
        """Take what opens the sound, and its frames at 44,100 Hz: what is missing of them is silent."""
        self.rms_db: float | None = None
        self.chunks = math.ceil(frames / CHUNK_FRAMES)
        self._stopping = stopping
        whole = LEAD_FRAMES + self.chunks * CHUNK_FRAMES + 2 * LEAD_FRAMES
        chain = (STEREO, f"atrim=end_sample={frames}", "astats=measure_perchannel=none:measure_overall=RMS_level")
        silence = (f"adelay={LEAD_FRAMES}S:all=1", f"apad=whole_len={whole}", "aresample=48000")
        filters = ("-rematrix_maxval", "1", "-af", ",".join((*chain, *silence)))
        self._arguments = command(*opened, *filters, *_OPUS, *_OGG, "pipe:1", loglevel="info")
        self._cpu_seconds = round(CPU_SECONDS + CPU_SECONDS_A_SECOND * frames / SAMPLE_RATE_HZ)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the files.

        Raises:
            Interrupted: it is to stop.
            DecodingFailed: the system didn't let ffmpeg work.
            EncodingFailed: ffmpeg could not make it of this sound.
        """
        with decoder(self._arguments, cpu_seconds=self._cpu_seconds) as child:
            use_idle_scheduling(child.process.pid)
            assert child.process.stdout is not None
            try:
                yield from self._cut(packets(child.process.stdout))
                while child.process.stdout.read(1 << 16):
                    pass
            except ValueError as error:
                code = child.wait()
                if child.was_stopped:
                    raise DecodingFailed(UNABLE) from error
                raise EncodingFailed(f"ffmpeg ended with {code}: {error}: {child.stderr()}") from error
            if code := child.wait():
                raise (DecodingFailed if child.was_stopped else EncodingFailed)(f"ffmpeg ended with {code}")
            if found := _RMS.search(child.stderr()):
                self.rms_db = float(found[1])

    def _cut(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        head = next(stream, b"")
        skipped = pre_skip_of(head) + LEAD_PACKETS * PACKET_SAMPLES - MARGIN_SAMPLES
        next(stream, b"")  # its tags
        window: deque[bytes] = deque()
        for _ in range(self.chunks):
            if self._stopping():
                raise Interrupted("stopped")
            window.extend(islice(stream, FILE_PACKETS - len(window)))
            if len(window) < FILE_PACKETS:
                raise ValueError("the stream is shorter than its sound")
            yield opus_file(tuple(window), skipped, FILE_SAMPLES)
            for _ in range(CHUNK_PACKETS):
                window.popleft()
