"""Native Instruments' Stems files, as stempeg reads them."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import stem_file
from ezstems.audio.encode import Writer
from ezstems.audio.mixing import Source
from ezstems.errors import EncodingFailed

SAMPLES = 44_100
HERTZ = {"vocals": 441, "drums": 882, "bass": 220.5, "piano": 1323, "other": 1764}


def sources(folder: Path, names: list[str]) -> dict[str, Source]:
    made = {}
    for name in names:
        times = np.arange(SAMPLES) / SAMPLES
        tone = 0.1 * np.sin(2 * np.pi * HERTZ[name] * times)
        with Writer(folder / f"{name}.wav", "wav") as writer:
            writer.write(np.stack([tone, tone], axis=1).astype(np.float32))
            writer.finish()
        made[name] = Source(folder / f"{name}.wav", 0, (folder / f"{name}.wav").stat().st_size)
    return made


def heard(audio: np.ndarray) -> set[str]:
    spectrum = np.abs(np.fft.rfft(audio[8192 : 8192 + 22_050, 0]))
    return {name for name, hertz in HERTZ.items() if spectrum[round(hertz / 2)] > 0.05 * 22_050 / 2}


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="stempeg needs the system's ffmpeg, which isn't installed")
@pytest.mark.parametrize("names", [["vocals", "drums", "bass", "other"], list(HERTZ)])
def test_stempeg_reads_mix_and_stems(tmp_path: Path, names: list[str]) -> None:
    import stempeg  # which can't be imported without an ffmpeg

    path = tmp_path / "song.stem.mp4"
    with tempfile.TemporaryFile() as file:
        stem_file.write(sources(tmp_path, names), "wav", SAMPLES, file)
        content = b"".join(stem_file.with_atom(file))
    path.write_bytes(content)
    told = json.loads(content[content.index(b"stem{") + 4 :])
    assert [stem["name"] for stem in told["stems"]] == ["Drums", "Bass", "Other", "Vocals"]
    assert told["version"] == 1
    tracks, rate = stempeg.read_stems(str(path))
    assert (rate, len(tracks)) == (SAMPLES, 5)
    assert all(SAMPLES <= len(track) < SAMPLES + 2048 for track in tracks)
    assert [heard(track) for track in tracks] == [
        set(names), {"drums"}, {"bass"}, {"other", "piano"} & set(names), {"vocals"}
    ]  # fmt: skip


def test_two_stems_make_none(tmp_path: Path) -> None:
    assert stem_file.members(["vocals", "accompaniment"]) is None
    with tempfile.TemporaryFile() as file, pytest.raises(EncodingFailed):
        file.write(b"\0\0\0\x08free")
        list(stem_file.with_atom(file))
