"""Previews: chunks that decode by themselves to their own frames, whatever the sound; ffmpeg's faults are told."""

import io
import os
import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import preview
from ezstems.audio.encode import Writer
from ezstems.audio.ffmpeg import executable
from ezstems.audio.mixing import Source
from ezstems.audio.outputs import FORMATS
from ezstems.audio.preview import CHUNK_FRAMES, MARGIN_FRAMES, Preview
from ezstems.audio.preview_ogg import opus_file, packets
from ezstems.errors import EncodingFailed, Interrupted
from tests.support.audio_files import song

RATE_HZ = 44_100


def files_of(path: Path, frames: int, output: str = "wav") -> tuple[Preview, list[bytes]]:
    made = Preview(preview.stem_arguments(Source.whole(path), output), frames, lambda: False)
    return made, list(made)


def heard(chunk: bytes) -> np.ndarray:
    """Decode a chunk by itself, and cut it to its frames."""
    arguments = [executable(), "-v", "warning", "-i", "pipe:0", "-ar", str(RATE_HZ), "-f", "f32le", "pipe:1"]
    child = subprocess.run(arguments, input=chunk, capture_output=True, check=True)
    assert child.stderr == b""
    pcm = np.frombuffer(child.stdout, "<f4").reshape(-1, 2)
    assert len(pcm) == CHUNK_FRAMES + 2 * MARGIN_FRAMES
    return pcm[MARGIN_FRAMES:-MARGIN_FRAMES]


def write(path: Path, pcm: np.ndarray, output: str = "wav") -> Path:
    with Writer(path, output) as writer:
        writer.write(pcm)
        writer.finish()
    return path


def test_an_impulse_at_every_place_of_a_seam_is_heard_there(tmp_path: Path) -> None:
    frames = 3 * CHUNK_FRAMES + 20_000
    places = [0, 500, CHUNK_FRAMES - 700, CHUNK_FRAMES, 2 * CHUNK_FRAMES - 1, 3 * CHUNK_FRAMES + 5, frames - 300]
    pcm = np.zeros((frames, 2), np.float32)
    pcm[places] = 0.9
    _, files = files_of(write(tmp_path / "a.wav", pcm), frames)
    assert len(files) == 4
    joined = np.concatenate([heard(chunk) for chunk in files])
    for place in places:
        start = max(0, place - 150)
        found = start + int(np.argmax(np.abs(joined[start : place + 150, 0])))
        assert found == place
    assert np.abs(joined[frames + 500 :]).max() < 1e-3  # the rest of the last chunk is silence


@pytest.mark.parametrize("output", FORMATS)
def test_a_stem_of_every_format_joins_without_a_step(tmp_path: Path, output: str) -> None:
    frames = 2 * CHUNK_FRAMES - 12_345
    tone = 0.4 * np.sin(2 * np.pi * 330 * np.arange(frames) / RATE_HZ)
    pcm = np.stack([tone, tone / 2], axis=1).astype(np.float32)
    stem = write(tmp_path / FORMATS[output].filename("vocals"), pcm, output)
    made, files = files_of(stem, frames, output)
    joined = np.concatenate([heard(chunk) for chunk in files])[:frames]
    error = joined - pcm
    assert np.abs(error[1000:-1000]).max() < 0.03
    assert np.abs(error[CHUNK_FRAMES] - error[CHUNK_FRAMES - 1]).max() < 0.004  # of 0.4: no click
    assert made.rms_db == pytest.approx(10 * np.log10(np.mean(np.square(pcm))), abs=0.3)
    rate = sum(map(len, files)) * 8 / (len(files) * CHUNK_FRAMES / RATE_HZ)
    assert 50_000 < rate < 130_000


def test_silence_and_a_sound_that_ends_early(tmp_path: Path) -> None:
    made, files = files_of(write(tmp_path / "a.wav", np.zeros((1000, 2), np.float32)), CHUNK_FRAMES + 1)
    assert made.rms_db is None
    assert len(files) == 2 and np.abs(np.concatenate([heard(chunk) for chunk in files])).max() < 1e-4


def test_an_upload_of_another_rate_keeps_its_length(tmp_path: Path) -> None:
    mono = song(3 * 22_050, channels=1, rate_hz=22_050)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 22_050, 0, "NONE", ""))
        file.writeframes(np.rint(mono * 32767).astype("<i2").tobytes())
    made = Preview(preview.upload_arguments(tmp_path / "a.wav"), 3 * RATE_HZ, lambda: False)
    (chunk,) = made
    pcm = heard(chunk)[: 3 * RATE_HZ : 2]
    assert np.corrcoef(pcm[:, 0], mono[:, 0])[0, 1] > 0.99


def test_what_is_no_sound_is_told_and_a_stop_is_heeded(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"no sound" * 1000)
    with pytest.raises(EncodingFailed, match="ffmpeg ended with"):
        files_of(tmp_path / "a.mp3", RATE_HZ, "mp3")
    stem = write(tmp_path / "a.wav", np.zeros((1000, 2), np.float32))
    with pytest.raises(Interrupted):
        list(Preview(preview.stem_arguments(Source.whole(stem), "wav"), RATE_HZ, lambda: True))


def test_packets_of_every_size_come_back_from_a_file(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    sent = [random.bytes(size) for size in (1, 254, 255, 256, 510, 1275, *random.integers(1, 1276, 200))]
    head, tags, *got = packets(io.BytesIO(file := opus_file(sent, 312, 5000)))
    assert got == sent and head[:8] == b"OpusHead" and tags[:8] == b"OpusTags"
    with pytest.raises(ValueError, match="ends early"):
        list(packets(io.BytesIO(file[:-1])))
    with pytest.raises(ValueError, match="no Ogg page"):
        list(packets(io.BytesIO(b"RIFF" * 100)))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has these")
def test_others_go_first(tmp_path: Path) -> None:
    frames = 60 * RATE_HZ
    opened = preview.stem_arguments(Source.whole(write(tmp_path / "a.wav", np.zeros((9, 2), np.float32))), "wav")
    made = iter(Preview(opened, frames, bool))
    next(made)
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    (child,) = [each for each in children if "ffmpeg" in Path(f"/proc/{each}/cmdline").read_text()]
    assert {os.sched_getscheduler(int(task.name)) for task in Path(f"/proc/{child}/task").iterdir()} == {os.SCHED_IDLE}
    group = Path(f"/proc/{child}/autogroup")
    if group.exists() and group.read_text().strip():  # else the kernel shares among no sessions
        assert group.read_text().split()[-1] == "19"
    made.close()
    assert not Path(f"/proc/{child}").exists()
