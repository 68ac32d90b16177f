"""How near an estimate comes to a true stem, second by second; audio is (samples, 2) at 44.1 kHz, of any scale."""

import numpy as np
from scipy.fft import irfft, rfft

CHUNK_SAMPLES = 44100
SILENT_SHARE = 0.01  # of the level of the whole: 40 dB below it, so that a quieter copy has the same silence
HIGHEST_DB = 200.0  # where an estimate is the reference itself
FRAME_SAMPLES, HOP_SAMPLES, BINS = 4096, 1024, 1024  # what Spleeter's network sees: up to 11 kHz
WINDOW = np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)


def sounding(audio: np.ndarray) -> np.ndarray:
    """Tell for each whole second whether it is not silent: booleans (seconds,)."""
    seconds = len(audio) // CHUNK_SAMPLES
    chunks = audio[: seconds * CHUNK_SAMPLES].astype(np.float64).reshape(seconds, -1)
    levels = np.sqrt((chunks**2).mean(axis=1))
    return levels > SILENT_SHARE * np.sqrt((chunks**2).mean())


def distortions_db(reference: np.ndarray, estimate: np.ndarray) -> list[float]:
    """Return 10 log10 |s|²/|s - ŝ|² over both channels for each second in which the reference is not silent."""
    ratios = []
    for second in np.flatnonzero(sounding(reference)):
        chunk = slice(second * CHUNK_SAMPLES, (second + 1) * CHUNK_SAMPLES)
        truth = reference[chunk].astype(np.float64)
        energy, error = (truth**2).mean(), ((truth - estimate[chunk]) ** 2).mean()
        ratios.append(10 * float(np.log10(energy / max(error, energy * 10 ** (-HIGHEST_DB / 10)))))
    return ratios


def ideal_stems(references: list[np.ndarray]) -> list[np.ndarray]:
    """Cut stems out of their sum with the ratio mask of their true magnitudes: the best that Spleeter's could do."""
    spectra = [_spectrum(reference) for reference in references]
    mixture = np.sum(spectra, axis=0)
    powers = [np.abs(spectrum) ** 2 for spectrum in spectra]
    total = np.sum(powers, axis=0) + np.finfo(np.float32).tiny
    return [_waveform(mixture * (power / total), len(references[0])) for power in powers]


def _spectrum(audio: np.ndarray) -> np.ndarray:
    """Return the STFT that Spleeter's network sees, complex64 (frames, 2, bins)."""
    padded = np.pad(audio.astype(np.float32), ((FRAME_SAMPLES, FRAME_SAMPLES), (0, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES, axis=0)[::HOP_SAMPLES]
    return rfft(frames * WINDOW)[:, :, :BINS]


def _waveform(spectrum: np.ndarray, samples: int) -> np.ndarray:
    """Return the inverse STFT, float32 (samples, 2)."""
    frames = irfft(spectrum, FRAME_SAMPLES) * (WINDOW * np.float32(2 / 3))  # four squared windows sum to 3/2
    audio = np.zeros((len(frames) + FRAME_SAMPLES // HOP_SAMPLES - 1, 2, HOP_SAMPLES), np.float32)
    for hop in range(FRAME_SAMPLES // HOP_SAMPLES):
        audio[hop : hop + len(frames)] += frames[:, :, hop * HOP_SAMPLES : (hop + 1) * HOP_SAMPLES]
    return audio.transpose(0, 2, 1).reshape(-1, 2)[FRAME_SAMPLES : FRAME_SAMPLES + samples]
