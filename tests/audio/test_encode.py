"""Files of exactly as many samples as were written, the same bits each time; failures leave nothing running."""

import struct
import threading
import wave
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import encode
from ezstems.audio.encode import OUTPUTS, Wav, Writer, pcm16
from ezstems.errors import EncodingFailed
from tests.audio.audio_files import read, song

# ffmpeg's decoder trims at most one frame of an MP3's padding: nothing below 47 samples (1 ms) comes out shorter.
SHORTEST = {"mp3": 47}
LENGTHS = (1, 2, 15, 16, 47, 500, 1000, 1024, 1025, 1152, 4096, 5000, 44_100, 44_101, 60_000, 100_003, 132_300)


def write(path: Path, audio: np.ndarray, output: str, block_samples: int = 30_000) -> Path:
    with Writer(path, output) as writer:
        for start in range(0, len(audio), block_samples):
            writer.write(audio[start : start + block_samples])
        writer.finish()
    return path


@pytest.mark.parametrize("output", OUTPUTS)
def test_files_decode_to_exactly_what_was_written(output: str, tmp_path: Path) -> None:
    for samples in LENGTHS:
        if samples >= SHORTEST.get(output, 1):
            path = write(tmp_path / f"stem.{output}", song(samples), output)
            assert len(read(path)) == samples, samples


@pytest.mark.parametrize("output", OUTPUTS)
def test_files_hold_the_sound(output: str, tmp_path: Path) -> None:
    audio = song(100_003)
    result = read(write(tmp_path / f"stem.{output}", audio, output))
    error = np.sqrt(np.mean((result - audio) ** 2)) / np.sqrt(np.mean(audio**2))
    assert error < (1e-3 if output in ("wav", "flac") else 0.35)
    shifted = np.sqrt(np.mean((result[1:] - audio[:-1]) ** 2)) / np.sqrt(np.mean(audio**2))
    assert error < shifted  # not a sample early or late


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_same_sound_gives_the_same_bits(output: str, tmp_path: Path) -> None:
    audio = song(50_000)
    one = write(tmp_path / f"one.{output}", audio, output, 7000).read_bytes()
    assert one == write(tmp_path / f"other.{output}", audio, output, 50_000).read_bytes()


def test_what_is_above_full_scale_is_clipped() -> None:
    levels = np.array([0, 1, -1, 1.5, -1.5, 1e9, -1e9, 0.5, 1.4 / 32768, 1.6 / 32768], np.float32)
    assert pcm16(levels).tolist() == [0, 32767, -32768, 32767, -32768, 32767, -32768, 16384, 1, 2]


def test_wav_is_plain_riff(tmp_path: Path) -> None:
    audio = song(12_345)
    path = write(tmp_path / "stem.wav", audio, "wav")
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (2, 2, 44_100, 12_345)
        assert np.array_equal(np.frombuffer(file.readframes(12_345), "<i2").reshape(-1, 2), pcm16(audio))
    assert struct.unpack_from("<I", path.read_bytes(), 4)[0] == path.stat().st_size - 8


def test_wav_above_the_riff_limit_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "RIFF_LIMIT_BYTES", 100_000)
    audio = song(60_000)
    path = write(tmp_path / "stem.wav", audio, "wav")
    head = path.read_bytes()[:80]
    assert head[:4] == b"RF64" and head[12:16] == b"ds64"
    assert struct.unpack_from("<QQQ", head, 20) == (path.stat().st_size - 8, 240_000, 60_000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[76:80] = b"\xff" * 4  # as the real limit would have it
    path.write_bytes(content)
    assert np.array_equal(np.rint(read(path) * 32768), pcm16(audio))


def test_wav_header_counts_past_4_gib(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "stem.wav")
    wav._data_bytes = 5 << 30
    wav.close()
    head = (tmp_path / "stem.wav").read_bytes()
    assert head[:8] == b"RF64\xff\xff\xff\xff" and head[-4:] == b"\xff\xff\xff\xff"
    assert struct.unpack_from("<QQQ", head, 20) == ((5 << 30) + 72, 5 << 30, (5 << 30) // 4)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_full_disk_is_an_encoding_failure(output: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"vocals.{output}"
    path.symlink_to("/dev/full")
    threads = threading.active_count()
    with pytest.raises(EncodingFailed, match="'vocals' could not be written") as failed:
        write(path, song(1_000_000), output)
    assert str(tmp_path) not in str(failed.value)
    assert threading.active_count() == threads
    assert "No space left" in caplog.text


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_missing_folder_is_an_encoding_failure(output: str, tmp_path: Path) -> None:
    with pytest.raises(EncodingFailed):
        write(tmp_path / "missing" / f"stem.{output}", song(1000), output)


def test_an_encoder_that_dies_is_an_encoding_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encode.ENCODERS, "mp3", ("-c:a", "nonsense", "-f", "mp3"))
    threads = threading.active_count()
    with pytest.raises(EncodingFailed):
        write(tmp_path / "stem.mp3", song(1_000_000), "mp3")
    assert threading.active_count() == threads


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_ends_child_and_thread(output: str, tmp_path: Path) -> None:
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError), Writer(tmp_path / f"stem.{output}", output) as writer:
        writer.write(song(500_000))
        raise ZeroDivisionError
    assert threading.active_count() == threads
    if isinstance(writer._sink, encode.Encoder):
        assert writer._sink._child.process.returncode is not None
