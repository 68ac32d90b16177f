"""Native Instruments' Stems: a mix and its four stems as AAC in one MP4, with the `stem` atom that says so."""

import json
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO

from ezstems.audio.encode import SAMPLE_RATE_HZ
from ezstems.audio.ffmpeg import Child, command
from ezstems.audio.mixing import CPU_OF_SECOND, CPU_SECONDS, Source
from ezstems.errors import EncodingFailed, Interrupted
from ezstems.network.cpu import go_behind_separations

# The order that programs expect, each with the color that they show; a piano is in `other`.
TRACKS = {"drums": "#009E73", "bass": "#D55E00", "other": "#CC79A7", "vocals": "#56B4E9"}
BLOCK_BYTES = 1 << 20
LOOK_SECONDS = 0.25
BITS_A_SECOND = 256_000
_AAC = ("-c:a", "aac", "-b:a", str(BITS_A_SECOND))
_COMPRESSOR = {
    "enabled": False,
    "ratio": 3,
    "threshold": 0,
    "attack": 0.01,
    "release": 0.3,
    "input_gain": 0,
    "output_gain": 0,
    "hp_cutoff": 20,
    "dry_wet": 100,
}
_LIMITER = {"enabled": False, "threshold": 0, "ceiling": -0.3, "release": 0.05}
_BOX = struct.Struct(">I4s")


def members(stems: Sequence[str]) -> dict[str, list[str]] | None:
    """Return which stems each track is made of; None where there aren't enough."""
    if not set(TRACKS) <= set(stems):
        return None
    return {track: [track, *(set(stems) - set(TRACKS))] if track == "other" else [track] for track in TRACKS}


def size_bytes(samples: int) -> int:
    """Return about how large the file of so many samples will be."""
    return samples * (len(TRACKS) + 1) * BITS_A_SECOND // 8 // SAMPLE_RATE_HZ


def write(
    sources: dict[str, Source], made: str, samples: int, file: BinaryIO, is_awaited: Callable[[], bool] = lambda: True
) -> None:
    """Write the mix and its tracks into an empty file.

    Raises:
        EncodingFailed: it can't.
        Interrupted: nobody waits for it any more.
    """
    tracks = members(list(sources))
    assert tracks is not None, "only songs of four stems and more are offered"
    stems = list(sources)
    inputs: list[str] = []
    parts: list[str] = []
    for number, source in enumerate(sources.values()):
        inputs += source.arguments(made)
        parts.append(f"[{number}:a]aformat=sample_fmts=dblp,asplit[a{number}][b{number}]")
    end = f"apad,atrim=end_sample={samples},aformat=sample_fmts=s16"
    heard = "".join(f"[a{number}]" for number in range(len(stems)))
    parts.append(f"{heard}amix=inputs={len(stems)}:normalize=0:duration=longest,{end}[mix]")
    for track, names in tracks.items():
        heard = "".join(f"[b{stems.index(name)}]" for name in names)
        parts.append(f"{heard}amix=inputs={len(names)}:normalize=0:duration=longest,{end}[{track}]")
    maps = [argument for name in ("mix", *tracks) for argument in ("-map", f"[{name}]")]
    # The mix is what plays where nobody knows of stems.
    first = ("-disposition:a", "0", "-disposition:a:0", "default")
    same_bits = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
    arguments = command(
        *("-xerror", *inputs, "-filter_complex_threads", "1", "-filter_complex", ";".join(parts), *maps),
        *(*_AAC, *first, *same_bits, "-f", "mp4", "fd:"),
    )
    cpu_seconds = CPU_SECONDS + round(len(maps) * CPU_OF_SECOND * samples / SAMPLE_RATE_HZ)
    try:
        child = Child(arguments, into=file, cpu_seconds=cpu_seconds)
    except OSError as error:
        raise EncodingFailed("The server could not start a Stems file.") from error
    with child:
        go_behind_separations(child.process.pid)
        while child.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(LOOK_SECONDS)
            if not is_awaited():
                raise Interrupted("Nobody waits for this Stems file any more.")
        if code := child.wait():
            raise EncodingFailed("A Stems file could not be made.") from OSError(f"{code}: {child.stderr()}")


def with_atom(file: BinaryIO) -> Iterator[bytes]:
    """Yield a written file's bytes, with the atom inside its last box, `moov`: so nothing else changes its place."""
    at, size = 0, file.seek(0, 2)
    while at < size:
        file.seek(at)
        length, kind = _BOX.unpack(file.read(_BOX.size))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        if kind == b"moov" and at + length == size:
            break
        at += max(length, _BOX.size)
    else:
        raise EncodingFailed("ffmpeg ended a Stems file in an unknown way.")
    atom = _box(b"udta", _box(b"stem", json.dumps(_told()).encode()))
    file.seek(0)
    left = at
    while left and (block := file.read(min(BLOCK_BYTES, left))):
        left -= len(block)
        yield block
    file.seek(at + _BOX.size)
    yield _box(b"moov", file.read(length - _BOX.size) + atom)


def _box(kind: bytes, content: bytes) -> bytes:
    return _BOX.pack(_BOX.size + len(content), kind) + content


def _told() -> dict[str, object]:
    stems = [{"name": name.capitalize(), "color": color} for name, color in TRACKS.items()]
    dynamics = {"compressor": _COMPRESSOR, "limiter": _LIMITER}
    return {"version": 1, "mastering_dsp": dynamics, "stems": stems}
