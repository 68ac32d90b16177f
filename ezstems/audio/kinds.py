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
        ("-enable_drefs", "0", "-use_absolute_path", "0", "-max_streams", str(MOST_STREAMS)),
        magic=tuple((4, name) for name in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")),
    ),
}


def known(extension: str) -> str:
    """Return an extension in lower case and without its dot; raise UnreadableAudio when it isn't one of these."""
    extension = extension.lower().lstrip(".")
    if extension not in DEMUXERS:
        raise UnreadableAudio(f"extension='{extension}' must be {', '.join(DEMUXERS)}")
    return extension


def looks_like(path: Path, extension: str) -> bool:
    """Tell whether the first bytes are of the extension's kind: ffmpeg's MP3 demuxer would find frames in any noise."""
    if extension == "mp3":
        return mpeg.starts_with_frames(path)
    with path.open("rb") as file:
        head = file.read(16)
    return any(head[offset : offset + len(name)] == name for offset, name in DEMUXERS[extension].magic)


def opening(path: Path, extension: str) -> list[str]:
    """Build the arguments that open a file's first sound with its extension's demuxer, and nothing by way of it."""
    demuxer = DEMUXERS[extension]
    layout = LAYOUTS.get(riff.channels(path) or 0) if extension == "wav" else None
    return [
        *("-protocol_whitelist", "file", "-format_whitelist", demuxer.name),
        *("-codec_whitelist", ",".join(demuxer.decoders), *demuxer.options),
        *(("-channel_layout", layout) if layout else ()),
        *("-f", demuxer.name, "-vn", "-sn", "-dn", "-i", f"file:{path}", "-map", "0:a:0"),
    ]
