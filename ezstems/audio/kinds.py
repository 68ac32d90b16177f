"""What an upload may be: for each extension one demuxer, the decoders inside it, and how such a file begins."""

from dataclasses import dataclass
from pathlib import Path

from ezstems.audio import mpeg, riff
from ezstems.errors import UnreadableAudio

# What one and two channels are, whatever places a WAVE header gives them: a mono take that is flagged "front left"
# would lose 3 dB, a pair of "back" channels isn't decoded at all.
LAYOUTS = {1: "mono", 2: "stereo"}
# Ten times what a mix with its stems, a picture and chapters has; each may open a decoder of its own.
MOST_STREAMS = 64


@dataclass(frozen=True)
class Demuxer:
    """Say what ffmpeg may make of a file: one demuxer, and the decoders allowed inside it."""

    name: str
    decoders: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sound:
    """Say where in a file its sound begins, and what of it ffmpeg can't be left to find out."""

    demuxer: Demuxer
    start: int = 0
    end: int | None = None  # None: the file's
    decoder: str | None = None
    layout: str | None = None


DEMUXERS = {
    "mp3": Demuxer("mp3", ("mp3float", "mp2", "mp2float", "mp1", "mp1float")),
    "wav": Demuxer(
        "wav",
        (
            *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_s64le", "pcm_f32le", "pcm_f64le"),
            *("pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32be", "pcm_f64be"),
            *("pcm_f16le", "pcm_f24le", "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav"),
        ),
    ),
    "m4a": Demuxer(
        "mov",
        ("aac", "alac", "mp3float", "ac3", "eac3", "flac", "opus"),
        ("-enable_drefs", "0", "-use_absolute_path", "0", "-max_streams", str(MOST_STREAMS)),
    ),
}
UPLOAD_EXTENSIONS = tuple(DEMUXERS)

BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


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
    if extension == "m4a":
        with path.open("rb") as file:
            return Sound(DEMUXERS["m4a"]) if file.read(8)[4:] in BOXES else None
    wave = riff.read(path)
    if wave is None and extension == "wav":
        return None
    if wave is None or wave.codec in riff.MPEG_AUDIO:  # which a WAVE header may precede, whatever the file is called
        found = mpeg.find(path, wave.data_start or 0, wave.data_end) if wave else mpeg.find(path)
        return Sound(DEMUXERS["mp3"], *found) if found else None
    if extension == "mp3":
        return None
    return Sound(DEMUXERS["wav"], wave.start, None, wave.decoder, LAYOUTS.get(wave.channels or 0))


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
