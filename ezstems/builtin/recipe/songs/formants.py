"""A singer without any recording: vowels as resonances of a vocal tract, consonants as shaped noise and closures.

It gives WORLD the parameters that an analysis of speech would: power spectra and the share of noise in them, frame by
frame. Formant frequencies are the textbook ones of Peterson and Barney (1952); the source falls 12 dB an octave above
its corner, as the LF model of the glottal flow does, and radiation at the lips gives 6 dB back.
"""

from dataclasses import dataclass

import numpy as np

NAME = "formants"  # among the names of voices that speak
RATE_HZ = 44100
BINS = 1025
# First to fourth formant of a male speaker in Hz.
VOWELS_HZ = (
    (730, 1090, 2440, 3400), (270, 2290, 3010, 3600), (300, 870, 2240, 3300), (530, 1840, 2480, 3500),
    (570, 840, 2410, 3300), (660, 1720, 2410, 3500), (490, 1350, 1690, 3300), (440, 1020, 2240, 3300),
    (390, 1990, 2550, 3500), (640, 1190, 2390, 3400), (400, 1700, 2200, 3300),
)  # fmt: skip
BANDWIDTHS_HZ = (80, 95, 130, 200, 300)
FIFTH_FORMANT_HZ = 4500.0
# Unvoiced consonants: the band of their noise in Hz, their loudness beside a vowel, and whether a closure comes first.
NOISES = (
    (4200, 12000, 0.15, False), (2200, 7000, 0.15, False), (1200, 14000, 0.04, False), (600, 4000, 0.06, False),
    (2500, 9000, 0.2, True), (1200, 4000, 0.2, True), (300, 2500, 0.2, True),
)  # fmt: skip
# Voiced consonants: their formants in Hz and their loudness beside a vowel.
HUMS = (
    ((250, 1100, 2100, 3200), 0.25), ((280, 1500, 2500, 3300), 0.25), ((350, 1050, 2700, 3300), 0.4),
    ((330, 1200, 1600, 3100), 0.4), ((300, 700, 2200, 3200), 0.4), ((260, 2100, 2900, 3500), 0.4),
)  # fmt: skip


@dataclass(frozen=True)
class Throat:
    """Hold one voice: the length of its tract as a factor of the formants, its source and its breath."""

    formants: float
    corner_hz: float
    tilt_db_per_octave: float
    breath: float
    ring_db: float  # the singer's formant, a cluster near 3 kHz


def draw_throat(rng: np.random.Generator, formants: float) -> Throat:
    """Draw a voice whose formants lie that much above a man's."""
    return Throat(
        formants=formants * rng.uniform(0.95, 1.08),
        corner_hz=float(np.exp(rng.uniform(np.log(150), np.log(1500)))),
        tilt_db_per_octave=rng.uniform(4, 11),
        breath=float(10 ** rng.uniform(-2.5, -0.7)),
        ring_db=rng.uniform(0, 10),
    )


def articulate(lengths: list[int], throat: Throat, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Sing a syllable on each note, whose lengths are frames of 5 ms.

    Returns power spectra (frames, 1025) float64, noise shares alike, and which frames have a pitch, (frames,) bool.
    """
    frames = sum(lengths)
    formants_hz, loudness = np.zeros((frames, 4)), np.ones(frames)
    voiced, noise = np.ones(frames, bool), np.zeros((frames, BINS))
    bins_hz = np.arange(BINS) * RATE_HZ / 2 / (BINS - 1)
    begin = 0
    for length in lengths:
        vowel = np.array(VOWELS_HZ[rng.integers(len(VOWELS_HZ))], float)
        target = VOWELS_HZ[rng.integers(len(VOWELS_HZ))] if rng.random() < 0.25 else vowel  # a diphthong
        path = np.clip((np.arange(length) / length - 0.5) / 0.4, 0, 1)[:, None]
        formants_hz[begin : begin + length] = vowel + (np.array(target) - vowel) * path
        consonant = min(int(rng.integers(6, 28)), length // 2)
        kind = rng.random()
        part = slice(begin, begin + consonant)
        if kind < 0.4:
            low_hz, high_hz, level, closed = NOISES[rng.integers(len(NOISES))]
            hush = begin + consonant // 2 if closed else begin
            band = 1 / (1 + (low_hz / np.maximum(bins_hz, 1)) ** 6) / (1 + (bins_hz / high_hz) ** 6)
            voiced[part], loudness[part] = False, 0.0
            shape = np.hanning(begin + consonant - hush + 2)[1:-1]
            noise[hush : begin + consonant] = (level**2 * shape**2)[:, None] * band
        elif kind < 0.8:
            hum, level = HUMS[rng.integers(len(HUMS))]
            formants_hz[part], loudness[part] = hum, level
        begin += length
    smooth = np.hanning(11) / np.hanning(11).sum()
    formants_hz = np.stack([np.convolve(np.pad(line, 5, "edge"), smooth, "valid") for line in formants_hz.T], axis=1)
    loudness = np.convolve(np.pad(loudness, 5, "edge"), smooth, "valid")
    voice = _tract(formants_hz * throat.formants, throat, bins_hz)
    voice *= (loudness**2 / np.maximum(voice.max(axis=1), 1e-12))[:, None]
    share = throat.breath * (bins_hz / 4000) ** 1.5 + 1e-4
    shares = np.where(voiced[:, None], np.clip(share, 0, 0.98), 1 - 1e-6)
    return np.ascontiguousarray(voice * voiced[:, None] + noise + 1e-10), np.ascontiguousarray(shares), voiced


def _tract(formants_hz: np.ndarray, throat: Throat, bins_hz: np.ndarray) -> np.ndarray:
    """Return the power spectrum of source, resonances and lips for each frame, (frames, bins)."""
    octaves = np.log2(np.maximum(bins_hz, throat.corner_hz) / throat.corner_hz)
    source_db = -throat.tilt_db_per_octave * octaves
    ring_db = throat.ring_db * np.exp(-(((bins_hz - 2900 * throat.formants) / 700) ** 2))
    power = np.repeat(10 ** ((source_db + ring_db) / 10)[None], len(formants_hz), axis=0)
    fifth = np.full((len(formants_hz), 1), FIFTH_FORMANT_HZ * throat.formants)
    for centre_hz, bandwidth_hz in zip(np.hstack([formants_hz, fifth]).T, BANDWIDTHS_HZ, strict=True):
        squared = (centre_hz**2)[:, None]
        power *= squared**2 / ((squared - bins_hz**2) ** 2 + (bins_hz * bandwidth_hz * throat.formants) ** 2)
    # Five resonances alone fall too steeply above 5 kHz; the tract has one more every kilohertz.
    return power * (1 + (bins_hz / 5000) ** 16) / (1 + (bins_hz / 14000) ** 6)
