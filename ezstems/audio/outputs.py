"""The formats of the stems: the one table that engine, API, website and commands read."""

from dataclasses import dataclass
from typing import Any

import numpy as np

# What a format is made of, by ffmpeg's name of it.
PCM: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}


@dataclass(frozen=True)
class Format:
    """Say what one format is for people and for browsers, and how it is made.

    `encoder` are ffmpeg's arguments; a format without any is a WAV file of its PCM. `opened_by` are the demuxer and
    the decoder that read it again.
    """

    label: str
    detail: str
    extension: str
    media_type: str
    opened_by: tuple[str, str]
    pcm: str = "s16le"
    encoder: tuple[str, ...] = ()

    @property
    def clips(self) -> bool:
        """Tell whether what is louder than full scale is lost."""
        return PCM[self.pcm].kind == "i"

    @property
    def is_wav(self) -> bool:
        """Tell whether the samples lie plainly in a WAV file."""
        return not self.encoder

    @property
    def words(self) -> str:
        """Say what the format is to who chooses one."""
        return f"{self.label}: {self.detail}{', at once in the mixer' if self.is_wav else ''}"

    def filename(self, stem: str) -> str:
        """Name a stem's file."""
        return f"{stem}.{self.extension}"


# By their names in the API. Every one of these decodes to exactly the samples that went in: the MP3's LAME tag and the
# M4A's edit list name delay and padding; a FLAC's block size must not follow a tiny first block; an Ogg on one page
# loses its first packet's trim.
# LAME at quality 7 takes half the time of its default 3, and 5 six sevenths. Its noise is no louder, but, not shaped,
# lies 1 to 3 dB nearer to the masking threshold: far below what separation itself leaves in a stem.
_LAME = ("-c:a", "libmp3lame", "-b:a", "192k", "-compression_level", "7", "-f", "mp3")
_FLAC = ("-c:a", "flac", "-frame_size", "4608", "-f", "flac")
_AAC = ("-c:a", "aac", "-b:a", "192k", "-f", "ipod")
_VORBIS = ("-c:a", "libvorbis", "-q:a", "6", "-page_duration", "1", "-f", "ogg")
FORMATS = {
    "wav": Format("WAV", "16 bit", "wav", "audio/wav", ("wav", "pcm_s16le")),
    "wav32": Format(
        "32-bit float WAV", "never clips, twice the size of WAV", "wav", "audio/wav", ("wav", "pcm_f32le"), pcm="f32le"
    ),
    "mp3": Format("MP3", "192 kbit/s", "mp3", "audio/mpeg", ("mp3", "mp3float"), encoder=_LAME),
    "flac": Format("FLAC", "16 bit, smaller than WAV", "flac", "audio/flac", ("flac", "flac"), encoder=_FLAC),
    "m4a": Format("M4A", "AAC at 192 kbit/s", "m4a", "audio/mp4", ("mov", "aac"), encoder=_AAC),
    "ogg": Format("OGG", "Vorbis at about 192 kbit/s", "ogg", "audio/ogg", ("ogg", "vorbis"), encoder=_VORBIS),
}
OUTPUTS = tuple(FORMATS)  # the first is the default
UNCLIPPED = next(name for name, made in FORMATS.items() if not made.clips)
