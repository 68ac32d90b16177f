"""Files of exactly as many samples as were written, the same bits each time; failures leave nothing running."""

import struct
import threading
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from ezstems.audio import encode
from ezstems.audio.encode import Wav, Writer, pcm16
from ezstems.audio.outputs import FORMATS, OUTPUTS, PCM
from ezstems.errors import EncodingFailed
from tests.support.audio_files import read, song
from tests.support.sndfile import read_floats

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
    assert error < {"wav": 1e-3, "flac": 1e-3, "wav32": 1e-9}.get(output, 0.35)
    shifted = np.sqrt(np.mean((result[1:] - audio[:-1]) ** 2)) / np.sqrt(np.mean(audio**2))
    assert error < shifted  # not a sample early or late


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_same_sound_gives_the_same_bits(output: str, tmp_path: Path) -> None:
    audio = song(50_000)
    one = write(tmp_path / f"one.{output}", audio, output, 7000).read_bytes()
    assert one == write(tmp_path / f"other.{output}", audio, output, 50_000).read_bytes()


def test_what_is_above_full_scale_is_clipped() -> None:
    levels = np.array([0, 1, -1, 1.5, -1.5, 1e9, -1e9, 0.5, 1.4 / 32768, 1.6 / 32768], np.float32)
    assert pcm16(levels)[0].tolist() == [0, 32767, -32768, 32767, -32768, 32767, -32768, 16384, 1, 2]


def test_wav_is_plain_riff(tmp_path: Path) -> None:
    audio = song(12_345)
    path = write(tmp_path / "stem.wav", audio, "wav")
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (2, 2, 44_100, 12_345)
        assert np.array_equal(np.frombuffer(file.readframes(12_345), "<i2").reshape(-1, 2), pcm16(audio)[0])
    assert struct.unpack_from("<I", path.read_bytes(), 4)[0] == path.stat().st_size - 8


def test_wav_above_the_riff_limit_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "RIFF_LIMIT_BYTES", 100_000)
    audio = song(60_000)
    path = write(tmp_path / "stem.wav", audio, "wav")
    head = path.read_bytes()[:80]
    assert head[:4] == b"RF64" and head[12:16] == b"ds64"
    assert struct.unpack_from("<QQQ", head, 20) == (path.stat().st_size - 8, 240_000, 60_000)
    assert np.array_equal(np.rint(read(rf64(path, 80)) * 32768), pcm16(audio)[0])


def test_wav_header_counts_past_4_gib(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "stem.wav", PCM["s16le"])
    wav._data_bytes = 5 << 30
    wav.close()
    head = (tmp_path / "stem.wav").read_bytes()
    assert head[:8] == b"RF64\xff\xff\xff\xff" and head[-4:] == b"\xff\xff\xff\xff"
    assert struct.unpack_from("<QQQ", head, 20) == ((5 << 30) + 72, 5 << 30, (5 << 30) // 4)


def loud(samples: int) -> np.ndarray:
    """Make float32 (samples, 2) up to 20 dB over full scale, with what a float may be at its ends."""
    audio = 10 * song(samples)
    audio[:4, 0] = 1e-42, -0.0, -65_536, np.nextafter(np.float32(1), np.float32(2))
    return audio


def test_wav32_is_float_wav_that_holds_every_bit(tmp_path: Path) -> None:
    audio = loud(12_345)
    path = write(tmp_path / "stem.wav", audio, "wav32", 1000)
    content = path.read_bytes()
    assert content[:4] == b"RIFF" and struct.unpack_from("<I", content, 4)[0] == len(content) - 8
    assert content[48:56] == b"fmt \x12\0\0\0"
    assert struct.unpack_from("<HHIIHHH", content, 56) == (3, 2, 44_100, 8 * 44_100, 8, 32, 0)
    assert struct.unpack_from("<4sII4sI", content, 74) == (b"fact", 4, 12_345, b"data", 8 * 12_345)
    assert content[94:] == audio.astype("<f4").tobytes()
    rate_hz, read_by_scipy = wavfile.read(path)
    assert rate_hz == 44_100
    for samples in (read(path), read_by_scipy):
        assert samples.dtype == np.float32 and samples.tobytes() == audio.tobytes()


def test_wav32_is_what_libsndfile_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = loud(60_000)
    path = write(tmp_path / "stem.wav", audio, "wav32")
    assert read_floats(path).tobytes() == audio.tobytes()
    monkeypatch.setattr(encode, "RIFF_LIMIT_BYTES", 100_000)
    assert read_floats(rf64(write(tmp_path / "wide.wav", audio, "wav32"), 94)).tobytes() == audio.tobytes()


def test_wav32_above_the_riff_limit_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "RIFF_LIMIT_BYTES", 100_000)
    audio = loud(60_000)
    path = write(tmp_path / "stem.wav", audio, "wav32")
    head = path.read_bytes()[:94]
    assert head[:4] == b"RF64" and head[12:16] == b"ds64"
    assert struct.unpack_from("<QQQ", head, 20) == (path.stat().st_size - 8, 480_000, 60_000)
    assert head[74:86] == b"fact\4\0\0\0\xff\xff\xff\xff"
    assert read(rf64(path, 94)).tobytes() == audio.tobytes()


def rf64(path: Path, header_bytes: int) -> Path:
    """Put into an RF64 file what the real limit would have put there."""
    content = bytearray(path.read_bytes())
    assert content[:4] == b"RF64"
    content[4:8] = content[header_bytes - 4 : header_bytes] = b"\xff" * 4
    path.write_bytes(content)
    return path


def test_wav32_header_counts_past_4_gib(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "stem.wav", PCM["f32le"])
    wav._data_bytes = 5 << 30
    wav.close()
    head = (tmp_path / "stem.wav").read_bytes()
    assert head[:8] == b"RF64\xff\xff\xff\xff" and head[-4:] == b"\xff\xff\xff\xff"
    assert struct.unpack_from("<QQQ", head, 20) == ((5 << 30) + 86, 5 << 30, (5 << 30) // 8)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_full_disk_is_an_encoding_failure(output: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"vocals.{output}"
    path.symlink_to("/dev/full")
    threads = set(threading.enumerate())
    with pytest.raises(EncodingFailed, match="'vocals' could not be written") as failed:
        write(path, song(1_000_000), output)
    assert str(tmp_path) not in str(failed.value)
    assert set(threading.enumerate()) <= threads
    assert "No space left" in caplog.text


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_missing_folder_is_an_encoding_failure(output: str, tmp_path: Path) -> None:
    with pytest.raises(EncodingFailed):
        write(tmp_path / "missing" / f"stem.{output}", song(1000), output)


def test_an_encoder_that_dies_is_an_encoding_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "mp3", replace(FORMATS["mp3"], encoder=("-c:a", "nonsense", "-f", "mp3")))
    threads = set(threading.enumerate())
    with pytest.raises(EncodingFailed):
        write(tmp_path / "stem.mp3", song(1_000_000), "mp3")
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_ends_child_and_thread(output: str, tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), Writer(tmp_path / f"stem.{output}", output) as writer:
        writer.write(song(500_000))
        raise ZeroDivisionError
    assert set(threading.enumerate()) <= threads
    if isinstance(writer._sink, encode.Encoder):
        assert writer._sink._child.process.returncode is not None
