"""The songs that are sent, and whether what came back is right."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ezstems.audio.decode import decode
from ezstems.audio.outputs import FORMATS
from ezstems.audio.separate import STEMS
from tests.support.audio_files import RATE_HZ, convert, read, song, write_wav


@dataclass(frozen=True)
class Song:
    """Hold a file as it is sent, and how many samples it decodes to."""

    extension: str
    content: bytes
    samples: int


def make(folder: Path) -> list[Song]:
    """Make one of each kind, of different lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for extension, seconds in (("wav", 0.7), ("mp3", 8.0), ("m4a", 14.0)):
        plain = write_wav(folder / f"plain-{extension}.wav", song(int(seconds * RATE_HZ)))
        files.append(convert(plain, f"song.{extension}"))
    return [Song(file.suffix[1:], file.read_bytes(), samples(file)) for file in files]


def samples(file: Path) -> int:
    """Count what a file decodes to."""
    with decode(file, block_samples=RATE_HZ) as blocks:
        return sum(len(block) for block in blocks)


def faults(content: bytes, sent: Song, stems: int, output: str, folder: Path) -> list[str]:
    """Return what is wrong with a ZIP: its checksums, its names, or the length of a stem."""
    found = []
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        if (bad := packed.testzip()) is not None:
            found.append(f"{bad} is damaged")
        if packed.namelist() != [FORMATS[output].filename(name) for name in STEMS[stems]]:
            found.append(f"it holds {packed.namelist()}")
        for name in packed.namelist():
            stem = Path(packed.extract(name, folder))
            if (count := len(read(stem))) != sent.samples:
                found.append(f"{name} has {count} samples instead of {sent.samples}")
            stem.unlink()
    return found
