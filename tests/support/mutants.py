"""Mutants of files of every kind, any number of them, the same ones from the same seed.

Each comes from one honest file of a third of a second, or is made up whole by one of `tests.support.crafted`.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import crafted
from tests.support.audio_files import convert, ffmpeg, song, write_wav
from tests.support.boxes import Box, parse
from tests.support.ogg import sealed

SAMPLES = 14_700
BARE = ("-write_xing", "0", "-id3v2_version", "0")
VARIANTS = {
    "s16.wav": ("-c:a", "pcm_s16le"),
    "s24-48k.wav": ("-c:a", "pcm_s24le", "-ar", "48000"),
    "mono.wav": ("-ac", "1"),
    "surround.wav": ("-ac", "6"),
    "rf64.wav": ("-rf64", "always"),
    "adpcm.wav": ("-c:a", "adpcm_ms"),
    "128k.mp3": ("-b:a", "128k"),
    "vbr.mp3": ("-q:a", "4"),
    "22k.mp3": ("-ar", "22050", "-ac", "1", "-b:a", "32k"),
    "bare.mp3": BARE,
    "bare-mono-48k.mp3": (*BARE, "-ac", "1", "-ar", "48000"),
    "bare-22k.mp3": (*BARE, "-ar", "22050"),
    "layer2.mp3": ("-c:a", "mp2", "-f", "mp2"),
    "aac.m4a": ("-c:a", "aac"),
    "first.m4a": ("-c:a", "aac", "-movflags", "+faststart"),
    "alac.m4a": ("-c:a", "alac"),
    "fragments.m4a": ("-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov"),
    "ac3.m4a": ("-c:a", "ac3"),
    "plain.flac": (),
    "96k.flac": ("-sample_fmt", "s32", "-ar", "96000"),
    "vorbis.ogg": ("-c:a", "libvorbis"),
    "flac.oga": ("-c:a", "flac"),
    "plain.opus": (),
    "s24.aiff": ("-c:a", "pcm_s24be"),
    "float.aifc": ("-c:a", "pcm_f32be", "-f", "aiff"),
    "sowt.aif": ("-c:a", "pcm_s16le"),
}
VIDEO = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=10:d=0.3", "-map", "0:a", "-map", "1:v")
VIDEOS = {
    "aac.mp4": ("-c:v", "mpeg4", "-c:a", "aac"),
    "pcm.mov": ("-c:v", "mpeg4", "-c:a", "pcm_s16le"),
    "aac.mkv": ("-c:v", "mpeg4", "-c:a", "aac"),
    "opus.webm": ("-c:v", "libvpx", "-c:a", "libopus"),
}
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
HEADER_BYTES = 1024
BOXED = (".m4a", ".mp4", ".mov")


@dataclass(frozen=True)
class Mutant:
    """Hold one hostile file: the class it is of, what to name it, and its bytes."""

    kind: str
    name: str
    content: bytes


def honest(folder: Path) -> dict[str, bytes]:
    """Make the files that mutants come from, by name; one carries a picture."""
    folder.mkdir(exist_ok=True)
    source = write_wav(folder / "float.wav", song(SAMPLES))
    picture = folder / "cover.png"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:d=1", "-frames:v", "1", picture)
    art = ("-i", picture, "-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v", "attached_pic")
    covered = dict.fromkeys(("covered.mp3", "covered.m4a", "covered.flac"), art)
    videos = {name: (*VIDEO, *arguments) for name, arguments in VIDEOS.items()}
    for name, arguments in (VARIANTS | covered | videos).items():
        convert(source, name, *arguments)
    picture.unlink()
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def mutants(files: dict[str, bytes], count: int, seed: int) -> Iterator[Mutant]:
    """Yield so many mutants: every other is a crafted one, in 2,000 all of those; the rest are changed files."""
    made = crafted.all_of(files, random.Random(seed))
    for number in range(count):
        if number % 2 == 0 and number // 2 < len(made):
            kind, extension, content = made[number // 2]
            yield Mutant(kind, f"{number}-{kind}.{extension}", content)
            continue
        dice = random.Random(f"{seed}/{number}")
        name = dice.choice(sorted(files))
        kinds = MUTATIONS | (BOX_MUTATIONS if name.endswith(BOXED) else {})
        kind = dice.choice(sorted(kinds))
        content = kinds[kind](files[name], dice)
        if content.startswith(b"OggS") and dice.random() < 0.8:
            content = sealed(content)
        yield Mutant(kind, f"{number}-{kind}-{name}", content)


def flip_bits(content: bytes, dice: random.Random) -> bytes:
    """Flip up to 64 bits, in half of the cases among the first bytes only."""
    mutant = bytearray(content)
    end = len(mutant) if dice.random() < 0.5 else min(HEADER_BYTES, len(mutant))
    for _ in range(dice.choice((1, 2, 4, 16, 64))):
        mutant[dice.randrange(end)] ^= 1 << dice.randrange(8)
    return bytes(mutant)


def truncate(content: bytes, dice: random.Random) -> bytes:
    """Keep the beginning, in half of the cases some bytes of a header only."""
    return content[: dice.randrange(1, len(content) if dice.random() < 0.5 else min(HEADER_BYTES, len(content)))]


def splice(content: bytes, dice: random.Random) -> bytes:
    """Cut out, repeat, zero, shuffle or drown in noise one stretch of the file."""
    start = dice.randrange(len(content))
    end = min(len(content), start + dice.choice((1, 7, 64, 500, 4000)))
    stretch = content[start:end]
    noise, zeros = dice.randbytes(len(stretch)), bytes(len(stretch))
    new = dice.choice((b"", stretch * 5, zeros, stretch[::-1], noise, b"\xff" * 400))
    return content[:start] + new + content[end:]


def lie(content: bytes, dice: random.Random) -> bytes:
    """Put extreme numbers, of either byte order, into the first bytes: sizes, rates, channels, counts."""
    mutant = bytearray(content)
    for _ in range(dice.randrange(1, 5)):
        width, order = dice.choice((1, 2, 4)), dice.choice(("big", "little"))
        at = dice.randrange(4, min(HEADER_BYTES, len(mutant) - 4))
        mutant[at : at + width] = (dice.choice(EXTREMES) & (1 << 8 * width) - 1).to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(mutant)


def lie_at_the_end(content: bytes, dice: random.Random) -> bytes:
    """Do the same to the last bytes, where an M4A may have its tables and an MP3 its tags."""
    return lie(content[::-1], dice)[::-1]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flips": flip_bits,
    "cut": truncate,
    "splice": splice,
    "lies": lie,
    "end-lies": lie_at_the_end,
}


def _in_a_box(change: Callable[[Box, random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    def mutate(content: bytes, dice: random.Random) -> bytes:
        root = parse(content)
        change(dice.choice([box for box in root.walk() if box is not root]), dice)
        return root.content()

    return mutate


def _lie_in_a_table(box: Box, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 4)):
        if len(box.payload) >= 4:
            at = dice.randrange(0, len(box.payload) - 3, 4) if dice.random() < 0.8 else 0
            box.payload = box.payload[:at] + dice.choice(EXTREMES).to_bytes(4, "big") + box.payload[at + 4 :]


def _lie_about_the_size(box: Box, dice: random.Random) -> None:
    box.size = dice.choice((0, 1, 7, 8, 9, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF))


def _multiply(box: Box, dice: random.Random) -> None:
    box.times = dice.choice((0, 2, 10, 60))


def _rename(box: Box, dice: random.Random) -> None:
    box.name = dice.choice((b"moov", b"trak", b"stsd", b"free", b"cmov", b"udta", b"meta", bytes(4), b"moof", b"dref"))


def _nest(box: Box, dice: random.Random) -> None:
    box.depth = dice.choice((1, 8, 100, 3000))


BOX_MUTATIONS = {
    "box-table": _in_a_box(_lie_in_a_table),
    "box-size": _in_a_box(_lie_about_the_size),
    "box-times": _in_a_box(_multiply),
    "box-name": _in_a_box(_rename),
    "box-nest": _in_a_box(_nest),
}
