"""Audio for tests: songs of noise and tones, WAV files of every kind, encoded files."""

import struct
from pathlib import Path

import numpy as np

from ezstems.audio.ffmpeg import Child, command

RATE_HZ = 44_100


def song(samples: int, *, channels: int = 2, rate_hz: int = RATE_HZ, seed: int = 1) -> np.ndarray:
    """Make float32 (samples, channels) of gliding chords, drum-like bursts and noise that changes its level."""
    random = np.random.default_rng(seed)
    seconds = np.arange(samples) / rate_hz
    tones = np.zeros((samples, channels))
    for _ in range(8):
        start_hz, glide_hz = np.exp(random.uniform(np.log(60), np.log(9000))), random.uniform(-30, 30)
        swell = np.sin(2 * np.pi * random.uniform(0.05, 0.6) * seconds + random.uniform(0, 6)) ** 2
        tone = swell * np.sin(2 * np.pi * (start_hz * seconds + glide_hz * seconds**2 / 2))
        tones += 0.08 * tone[:, None] * random.uniform(0.2, 1, channels)
    beats = np.exp(-((seconds * 2.1) % 1) * 12)[:, None] * random.normal(0, 0.12, (samples, channels))
    hiss = np.sin(2 * np.pi * 0.07 * seconds)[:, None] ** 2 * random.normal(0, 0.03, (samples, channels))
    return (tones + beats + hiss).astype(np.float32)


def write_wav(path: Path, audio: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    """Write float32 (n, channels) as a 32-bit float WAV, bit for bit."""
    channels = audio.shape[1]
    data = audio.astype("<f4").tobytes()
    fmt = struct.pack("<HHIIHH", 3, channels, rate_hz, rate_hz * channels * 4, channels * 4, 32)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def silent_wav_head(size_bytes: int) -> bytes:
    """Return what comes before the zeros of a WAV of so many bytes: 16 bits, stereo."""
    fmt = struct.pack("<HHIIHH", 1, 2, RATE_HZ, RATE_HZ * 4, 4, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size_bytes - 44)
    return b"RIFF" + struct.pack("<I", size_bytes - 8) + chunks


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg, which must succeed."""
    child = Child(command("-y", *map(str, arguments)))
    assert child.wait() == 0, child.stderr()


def convert(source: Path, name: str, *arguments: str | Path) -> Path:
    """Convert a file with ffmpeg to one of another name beside it."""
    target = source.with_name(name)
    ffmpeg("-i", source, *arguments, target)
    return target


def read(path: Path, channels: int = 2) -> np.ndarray:
    """Decode a file with ffmpeg as it is: float32 (n, channels)."""
    raw = path.with_name(path.name + ".f32")
    ffmpeg("-i", path, "-f", "f32le", raw)
    audio = np.fromfile(raw, "<f4").reshape(-1, channels)
    raw.unlink()
    return audio
