"""Mix finished stems anew with ffmpeg: gains, tempo and key, to any format, as a stream of bytes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ezstems.audio.encode import CHANNELS, SAMPLE_RATE_HZ, wav_header
from ezstems.audio.ffmpeg import PIPE_BYTES, Child, command
from ezstems.audio.outputs import FORMATS, PCM, Format
from ezstems.errors import EncodingFailed
from ezstems.network.cpu import go_behind_separations

# How long a child at low priority may give nothing, and how much processor time a second of sound may take it.
STALL_SECONDS, CPU_OF_SECOND, CPU_SECONDS = 120.0, 1.0, 60
SEMITONES_OF_OCTAVE = 12
# In a FLAC's first block: where the 36 bits of its length are. A stream's encoder can't come back to fill them in.
_FLAC_LENGTH_AT, _FLAC_HEAD_BYTES = 21, 26


@dataclass(frozen=True)
class Source:
    """Say where in a file a stem lies."""

    path: Path
    start: int
    end: int

    @classmethod
    def whole(cls, path: Path) -> "Source":
        """Return a file that is a stem."""
        return cls(path, 0, path.stat().st_size)

    def arguments(self, output: str) -> tuple[str, ...]:
        """Build the arguments that open it as what it was written as, and nothing by way of it."""
        demuxer, decoder = FORMATS[output].opened_by
        return (
            *("-protocol_whitelist", "subfile,file", "-format_whitelist", demuxer, "-codec_whitelist", decoder),
            *("-f", demuxer, "-i", f"subfile,,start,{self.start},end,{self.end},,:file:{self.path}"),
        )


@dataclass(frozen=True)
class Mix:
    """Say which stems are heard, each times its factor, and how fast and how high."""

    gains: Mapping[str, float]
    tempo: float = 1.0
    semitones: int = 0

    def samples(self, samples: int) -> int:
        """Return how long so many samples become."""
        return round(samples / self.tempo)


def target(made: str, wished: str) -> Format:
    """Return the format of a mix: a WAV is of the stems' own samples, so that floats never clip."""
    return FORMATS[made if FORMATS[made].is_wav and FORMATS[wished].is_wav else wished]


def graph(mix: Mix, samples: int, pcm: str) -> str:
    """Build the filters that lead from the inputs to [mix].

    The sum is of doubles, in the inputs' order, each times its factor, and rounded once, halves to even as the stems'
    own samples are; what is above full scale is clipped. The length is told, so that it is known before the end.
    """
    # By itself amix makes every stem softer.
    parts = [
        f"[{number}:a]aformat=sample_fmts=dblp,volume=volume={gain!r}:precision=double[g{number}]"
        for number, gain in enumerate(mix.gains.values())
    ]
    heard = "".join(f"[g{number}]" for number in range(len(mix.gains)))
    many = len(mix.gains) > 1
    chain = [f"{heard}amix=inputs={len(mix.gains)}:normalize=0:duration=longest" if many else f"{heard}anull"]
    if (mix.tempo, mix.semitones) != (1.0, 0):
        chain.append(f"rubberband=tempo={mix.tempo!r}:pitch={2 ** (mix.semitones / SEMITONES_OF_OCTAVE)!r}")
    length = mix.samples(samples)
    sample_format = "s16" if pcm == "s16le" else "flt"
    chain += ["apad", f"atrim=end_sample={length}", f"aformat=sample_fmts={sample_format}"]
    return ";".join([*parts, ",".join(chain) + "[mix]"])


class Mixing:
    """Stream a mix: read its first bytes at once, the others as they are made."""

    def __init__(self, sources: Sequence[Source], made: str, mix: Mix, samples: int, wished: str) -> None:
        """Begin to mix so many samples of sources, all of the format `made`; raise EncodingFailed if that fails."""
        output = target(made, wished)
        self._samples = mix.samples(samples)
        self._head = b""
        self.size_bytes: int | None = None
        if output.is_wav:
            data_bytes = self._samples * CHANNELS * PCM[output.pcm].itemsize
            self._head = wav_header(PCM[output.pcm], data_bytes)
            self.size_bytes = len(self._head) + data_bytes
        self._sent_bytes = 0
        inputs = [argument for source in sources for argument in source.arguments(made)]
        encoder = output.encoder or ("-c:a", f"pcm_{output.pcm}", "-f", output.pcm)
        same_bits = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
        filters = ("-filter_complex_threads", "1", "-filter_complex", graph(mix, samples, output.pcm), "-map", "[mix]")
        cpu_seconds = CPU_SECONDS + round(CPU_OF_SECOND * max(samples, self._samples) / SAMPLE_RATE_HZ)
        try:
            arguments = command("-xerror", *inputs, *filters, *same_bits, *encoder, "pipe:1")
            self._child = Child(arguments, writes=True, cpu_seconds=cpu_seconds)
        except OSError as error:
            raise EncodingFailed("The server could not start a mix.") from error
        try:
            go_behind_separations(self._child.process.pid)
            self._first = self._head + self._read()
            while not output.is_wav and 0 < len(self._first) < _FLAC_HEAD_BYTES and (more := self._read()):
                self._first += more
            if output is FORMATS["flac"]:
                self._first = with_length(self._first, self._samples)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes; raise EncodingFailed before the end of a mix that isn't whole."""
        block = self._first
        while block:
            self._sent_bytes += len(block)
            yield block
            block = self._read()
        if self.size_bytes is not None and self._sent_bytes != self.size_bytes:
            raise EncodingFailed(f"A mix has {self._sent_bytes} bytes, not {self.size_bytes}.")

    def _read(self) -> bytes:
        try:
            block = self._child.read(PIPE_BYTES, STALL_SECONDS)
        except TimeoutError as error:
            raise EncodingFailed(f"ffmpeg gave nothing of a mix in {STALL_SECONDS:.0f} s.") from error
        if not block and (code := self._child.wait()):
            raise EncodingFailed("A mix could not be made.") from OSError(f"{code}: {self._child.stderr()}")
        return block

    def close(self) -> None:
        """End the child, whatever it was doing; harmless when it has ended."""
        if self._child.process.returncode is None:
            self._child.kill()


def with_length(head: bytes, samples: int) -> bytes:
    """Write a FLAC's length into its first bytes."""
    at = _FLAC_LENGTH_AT
    if not head.startswith(b"fLaC") or len(head) < at + 5:
        raise EncodingFailed("ffmpeg began a FLAC in an unknown way.")
    length = (head[at] & 0xF0) << 32 | samples & (1 << 36) - 1
    return head[:at] + length.to_bytes(5, "big") + head[at + 5 :]
