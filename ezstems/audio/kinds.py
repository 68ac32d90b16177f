"""What an upload may be: for each extension one demuxer, the decoders inside it, and how such a file begins."""

import re
from dataclasses import dataclass
from pathlib import Path

from ezstems.audio import aiff, mpeg, quicktime, riff
from ezstems.audio.tags import end_of_tags
from ezstems.errors import UnreadableAudio

# What one and two channels are, whatever places a WAVE header gives them: a mono take that is flagged "front left"
# would lose 3 dB, a pair of "back" channels isn't decoded at all.
LAYOUTS = {1: "mono", 2: "stereo"}
# Ten times what a mix with its stems, a picture and chapters has; each may open a decoder of its own.
MOST_STREAMS = 64
HEAD_BYTES = 32


@dataclass(frozen=True)
class Demuxer:
    """Say what ffmpeg may make of a file: one demuxer, and the decoders allowed inside it."""

    name: str
    decoders: tuple[str, ...]
    options: tuple[str, ...] = ()
    begins: re.Pattern[bytes] | None = None  # None: more than its first bytes tell what a file is
    holds: str = ""  # those decoders, for the uploader of a file with another kind of sound


@dataclass(frozen=True)
class Sound:
    """Say where in a file its sound begins, and what of it ffmpeg can't be left to find out."""

    demuxer: Demuxer
    start: int = 0
    end: int | None = None  # None: the file's
    decoder: str | None = None
    layout: str | None = None


_STREAMS = ("-max_streams", str(MOST_STREAMS))
_QUICKTIME = ("-enable_drefs", "0", "-use_absolute_path", "0", *_STREAMS)
_BOXES = re.compile(rb"....(ftyp|moov|mdat|free|skip|wide)", re.DOTALL)
_PCM_LITTLE = ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le")
_PCM_BIG = ("pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32be", "pcm_f64be")
_PCM = ("pcm_u8", "pcm_s8", *_PCM_LITTLE, *_PCM_BIG, "pcm_alaw", "pcm_mulaw")

_MP3 = Demuxer("mp3", ("mp3float", "mp2", "mp2float", "mp1", "mp1float"))
_WAV = Demuxer(
    "wav",
    (
        *("pcm_u8", "pcm_s64le", "pcm_f16le", "pcm_f24le", "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav"),
        *(*_PCM_LITTLE, *_PCM_BIG),
    ),
)
_M4A = Demuxer("mov", ("aac", "alac", "mp3float", "ac3", "eac3", "flac", "opus"), _QUICKTIME, _BOXES)
_FLAC = Demuxer("flac", ("flac",), _STREAMS, re.compile(b"fLaC"), "FLAC")
_OGG = Demuxer("ogg", ("vorbis", "opus", "flac"), _STREAMS, re.compile(b"OggS"), "Vorbis, Opus or FLAC")
_AIFF = Demuxer(
    "aiff", _PCM, _STREAMS, re.compile(rb"FORM....AIF[FC]", re.DOTALL), "PCM, float, A-law or µ-law"
)
# Of a video its sound alone: no decoder of pictures is allowed.
_MP4 = Demuxer(
    "mov", (*_M4A.decoders, *_PCM), _QUICKTIME, _BOXES, "AAC, Apple Lossless, MP3, AC-3, FLAC, Opus or PCM"
)
_MATROSKA = Demuxer(
    "matroska",
    (*_M4A.decoders, "vorbis", "mp2", "mp2float", *_PCM),
    _STREAMS,
    re.compile(b"\x1aE\xdf\xa3"),
    "AAC, Apple Lossless, MP3, AC-3, FLAC, Opus, Vorbis or PCM",
)

DEMUXERS = {
    "mp3": _MP3,
    "wav": _WAV,
    "m4a": _M4A,
    "flac": _FLAC,
    **dict.fromkeys(("ogg", "oga", "opus"), _OGG),
    **dict.fromkeys(("aiff", "aif", "aifc"), _AIFF),
    **dict.fromkeys(("mp4", "m4v", "mov"), _MP4),
    **dict.fromkeys(("mkv", "webm"), _MATROSKA),
}
UPLOAD_EXTENSIONS = tuple(DEMUXERS)
API_EXTENSIONS = ("mp3", "wav", "m4a")  # as the original's; the website takes all, and so does the command line


def known_extension(extension: str) -> str:
    """Return an extension in lower case and without its dot; raise UnreadableAudio when it isn't one of these."""
    extension = extension.lower().lstrip(".")
    if extension not in DEMUXERS:
        raise UnreadableAudio(f"extension='{extension}' must be {', '.join(DEMUXERS)}")
    return extension


def find(path: Path, extension: str) -> Sound | None:
    """Find a file's sound by its first bytes; None where they aren't of the extension's kind.

    ffmpeg would find frames in any noise, read tags for seconds, and take junk before an encoder's tag for sound: it is
    given the sound from its first frame on.
    """
    demuxer = DEMUXERS[extension]
    if demuxer.begins is not None:
        return _begun(path, demuxer)
    wave = riff.read(path)
    if wave is None and extension == "wav":
        return None
    if wave is None or wave.codec in riff.MPEG_AUDIO:  # which a WAVE header may precede, whatever the file is called
        found = mpeg.find(path, wave.data_start or 0, wave.data_end) if wave else mpeg.find(path)
        return Sound(_MP3, *found) if found else None
    if extension == "mp3":
        return None
    return Sound(_WAV, wave.start, None, wave.decoder, LAYOUTS.get(wave.channels or 0))


def _begun(path: Path, demuxer: Demuxer) -> Sound | None:
    """Find the sound of a file that begins as its demuxer's files do."""
    assert demuxer.begins is not None
    with path.open("rb") as file:
        start = end_of_tags(file) if demuxer is _FLAC else 0
        file.seek(start)
        head = file.read(HEAD_BYTES)
    if not demuxer.begins.match(head):
        return None
    if demuxer is _FLAC:  # its STREAMINFO is the first block, of a fixed length
        return Sound(demuxer, start, None, None, LAYOUTS.get((head[20] >> 1 & 7) + 1 if len(head) > 20 else 0))
    if demuxer is _AIFF and (form := aiff.read(path)):
        if name := form.raw_format:
            raw = Demuxer(name, (f"pcm_{name}",), ("-ar", str(form.rate_hz), "-ac", str(form.channels)))
            return Sound(raw, form.data_start, form.data_end)
        return Sound(demuxer, layout=LAYOUTS.get(form.channels))
    return Sound(demuxer, layout=LAYOUTS.get(quicktime.pcm_channels(path)) if demuxer is _MP4 else None)


def input_arguments(path: Path, extension: str) -> list[str]:
    """Build the arguments that open a file's first sound with the demuxer of its kind, and nothing by way of it."""
    sound = find(path, extension) or Sound(DEMUXERS[extension])
    demuxer, protocol = sound.demuxer, "file"
    bounds: tuple[str, ...] = ("-skip_initial_bytes", str(sound.start)) if sound.start else ()
    if sound.end:  # not for WAVE files: at what lies behind its end, that demuxer would read on and on
        protocol, bounds = "subfile:file", ("-start", str(sound.start), "-end", str(sound.end))
    return [
        *("-protocol_whitelist", protocol.replace(":", ","), "-format_whitelist", demuxer.name),
        *("-codec_whitelist", ",".join(demuxer.decoders), *demuxer.options),
        *(("-channel_layout", sound.layout) if sound.layout else ()),
        *(("-c:a", sound.decoder) if sound.decoder else ()),
        *bounds,
        *("-f", demuxer.name, "-vn", "-sn", "-dn", "-i", f"{protocol}:{path}", "-map", "0:a:0"),
    ]
