"""Studio effects on stems: float32 arrays of shape (samples, 2) at 44.1 kHz."""

import numpy as np
from scipy.signal import fftconvolve, lfilter

SAMPLE_RATE_HZ = 44100
STEM_RMS = 0.08
SILENT = 1e-5  # below it there is but the rounding of the filters


def equalise(audio: np.ndarray, centre_hz: float, gain_db: float, q: float = 0.8) -> np.ndarray:
    """Boost or cut around one frequency: the peaking filter of R. Bristow-Johnson's Audio EQ Cookbook."""
    amplitude = 10 ** (gain_db / 40)
    angle = 2 * np.pi * centre_hz / SAMPLE_RATE_HZ
    alpha, cosine = np.sin(angle) / (2 * q), -2 * np.cos(angle)
    forward = np.array([1 + alpha * amplitude, cosine, 1 - alpha * amplitude])
    backward = np.array([1 + alpha / amplitude, cosine, 1 - alpha / amplitude])
    return lfilter(forward, backward, audio, axis=0).astype(np.float32)


def cut_lows(audio: np.ndarray, corner_hz: float) -> np.ndarray:
    """Cut what is below a corner frequency, 6 dB an octave."""
    pole = np.exp(-2 * np.pi * corner_hz / SAMPLE_RATE_HZ)
    return lfilter([1, -1], [1, -pole], audio, axis=0).astype(np.float32)


def reverberate(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a room: decaying noise, different in the two channels, after a short delay."""
    seconds, wet = rng.uniform(0.3, 2.2), rng.uniform(0.05, 0.6)
    length = int(seconds * SAMPLE_RATE_HZ)
    decay = 10 ** (-3 * np.arange(length) / length)
    room = lfilter([1], [1, -rng.uniform(0.2, 0.8)], rng.normal(size=(length, 2)) * decay[:, None], axis=0)
    room /= np.sqrt((room**2).sum(axis=0))
    delay = int(rng.uniform(0, 0.04) * SAMPLE_RATE_HZ)
    tail = fftconvolve(audio, room.astype(np.float32), axes=0)[: len(audio) - delay]
    wetted = audio.astype(np.float32).copy()
    wetted[delay:] += np.float32(wet) * tail
    return wetted


def echo(audio: np.ndarray, delay_seconds: float) -> np.ndarray:
    """Add three echoes, each about 9 dB below the one before."""
    echoed = audio.copy()
    delay = int(delay_seconds * SAMPLE_RATE_HZ)
    for count in range(1, 4):
        echoed[delay * count :] += audio[: len(audio) - delay * count] * 0.35**count
    return echoed


def compress(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn down what is louder than about the mean, both channels alike."""
    power = lfilter([0.0008], [1, -0.9992], (audio**2).mean(axis=1)) + 1e-8
    threshold = np.sqrt((audio**2).mean()) * rng.uniform(0.7, 2)
    gain = np.minimum(1, (threshold / np.sqrt(power)) ** rng.uniform(0.2, 0.7))
    return (audio * gain[:, None]).astype(np.float32)


def normalise(audio: np.ndarray) -> np.ndarray:
    """Scale to the level of a stem, measured where it is not silent; silence stays silence."""
    level = np.sqrt((audio**2).mean(axis=1))
    if level.max() < SILENT:
        return np.zeros_like(audio, np.float32)
    active = level > 0.02 * level.max()
    return (audio * (STEM_RMS / np.sqrt((audio[active] ** 2).mean()))).astype(np.float32)


def saturate(audio: np.ndarray, drive: float) -> np.ndarray:
    """Drive a soft clipper."""
    return np.tanh(normalise(audio) * drive).astype(np.float32)


def colour(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Equalise twice at random and sometimes compress."""
    for _ in range(2):
        audio = equalise(audio, float(np.exp(rng.uniform(np.log(100), np.log(9000)))), rng.uniform(-6, 6))
    return compress(audio, rng) if rng.random() < 0.4 else audio
