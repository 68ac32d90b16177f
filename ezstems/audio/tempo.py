"""Tempo and beats of a song, from its onsets.

The tempo is where the onsets' autocorrelation is highest, at the beat, its half and its multiples, weighted by how
usual a tempo is. The beats are those of Ellis, "Beat Tracking by Dynamic Programming" (2007): the sequence that has
onsets under its beats and keeps its intervals near the tempo's. They are then moved to between frames: a beat lies
where a line through its neighbours has it, or, in a song that keeps its tempo throughout, a line through all of them.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from ezstems.audio.onsets import FRAMES_PER_SECOND, seconds_at

SLOWEST_BPM, FASTEST_BPM = 40.0, 240.0
SHORTEST_SECONDS = 4.0
LEAST_CLARITY = 0.1
_USUAL_BPM, _OCTAVES = 120.0, 0.75  # the middle and the width of the prior
_MULTIPLES = {0.5: 0.5, 1: 1.0, 2: 1 / 2, 3: 1 / 3, 4: 1 / 4}  # of a beat, and how much each counts for it
_TIGHTNESS = 100.0  # Ellis's alpha
_STRETCH = 1.6  # of an interval, at most
_NEIGHBOURS = 8  # beats on each side that a beat's line goes through
_STEADY_SECONDS = 0.03  # a steady song's beats are no further off its line
_WEAK = 0.5  # of the beats' strength, below which a first beat isn't one
_AT_ONCE_SECONDS = 0.03  # a first beat that seems to come so little before the song is at its start


@dataclass(frozen=True)
class Tempo:
    """Say how fast a song is, when its beats come, in seconds, and how clear they are, 0 to 1."""

    bpm: float
    beats: tuple[float, ...]
    confidence: float


def tempo_of(envelope: np.ndarray) -> Tempo | None:
    """Estimate tempo and beats from the onsets' envelope, float32 (frames,); None where there are none to be found."""
    if len(envelope) < SHORTEST_SECONDS * FRAMES_PER_SECOND:
        return None
    onsets = _levelled(envelope)
    if not onsets.any():
        return None
    period, clarity = _period(onsets)
    if clarity < LEAST_CLARITY:
        return None
    frames = _track(onsets, period)
    if len(frames) < 4:
        return None
    beats = _refined(onsets, frames)
    seconds = seconds_at(beats)
    step = float(np.median(np.diff(seconds)))
    duration = len(envelope) / FRAMES_PER_SECOND
    kept = seconds[(seconds > -_AT_ONCE_SECONDS) & (seconds < duration)]
    return Tempo(60.0 / step, tuple(np.maximum(kept, 0.0).tolist()), min(1.0, clarity))


def _levelled(envelope: np.ndarray) -> np.ndarray:
    """Take the mean of the nearest second off the envelope, and divide it by its deviation."""
    second = round(FRAMES_PER_SECOND)
    rest = np.maximum(envelope - uniform_filter1d(envelope, second), 0.0)
    deviation = rest.std()
    return rest / deviation if deviation > 1e-6 else np.zeros_like(rest)


def _autocorrelation(onsets: np.ndarray, lags: int) -> np.ndarray:
    """Return the normalised autocorrelation at 0 to `lags` frames."""
    centred = onsets - onsets.mean()
    spectrum = fft.rfft(centred, fft.next_fast_len(len(centred) + lags, real=True))
    correlation = fft.irfft(np.abs(spectrum) ** 2)[: lags + 1]
    scaled: np.ndarray = correlation / correlation[0] * (len(onsets) / (len(onsets) - np.arange(lags + 1)))
    return scaled


def _period(onsets: np.ndarray) -> tuple[float, float]:
    """Return the beat's period in frames, and how clear it is: the mean of the autocorrelation there."""
    longest = 60 * FRAMES_PER_SECOND / SLOWEST_BPM
    lags = min(len(onsets) - 1, round(4 * longest) + 2)
    # Onsets are a frame or two wide, and a true period lies between two lags.
    correlation = gaussian_filter1d(_autocorrelation(onsets, lags), 0.7)
    periods = np.geomspace(60 * FRAMES_PER_SECOND / FASTEST_BPM, min(longest, lags), 600)
    at = np.arange(len(correlation))
    heights = [share * np.interp(k * periods, at, correlation, right=0.0) for k, share in _MULTIPLES.items()]
    clarity = np.sum(heights, axis=0) / sum(_MULTIPLES.values())
    prior = np.exp(-0.5 * (np.log2(60 * FRAMES_PER_SECOND / periods / _USUAL_BPM) / _OCTAVES) ** 2)
    best = int(np.argmax(prior * clarity))
    return float(periods[best]), float(clarity[best])


def _track(onsets: np.ndarray, period: float) -> np.ndarray:
    """Return the frames of the best sequence of beats: int (beats,)."""
    local = gaussian_filter1d(onsets, period / 32)
    # How many frames before a beat the last one may lie; a wider reach costs time and finds nothing else.
    nearest, furthest = round(period / _STRETCH), round(period * _STRETCH)
    costs = _TIGHTNESS * np.log(np.arange(furthest, nearest - 1, -1) / period) ** 2
    score = np.zeros(furthest + len(local))  # the frames before the first cost nothing
    options = np.lib.stride_tricks.sliding_window_view(score, len(costs))
    before = np.zeros(len(local), int)
    for start in range(0, len(local), nearest):  # no beat of these follows another of them
        part = slice(start, min(start + nearest, len(local)))
        worth = options[part] - costs
        before[part] = worth.argmax(axis=1)
        score[part.start + furthest : part.stop + furthest] = local[part] + worth.max(axis=1)
    before += np.arange(len(local)) - furthest
    last = len(local) - round(period)
    beats = [last + int(np.argmax(score[furthest + last :]))]
    while (earlier := before[beats[-1]]) >= 0:
        beats.append(int(earlier))
    found = np.array(beats[::-1])
    # Before the first onset that is one, as in silence or a fade-in, there is nothing to say where beats are.
    strengths = local[found]
    first = int(np.argmax(strengths >= _WEAK * np.sqrt(np.mean(strengths**2))))
    return found[first:]


def _refined(onsets: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Move beats to where onset and neighbours have them, in fractions of a frame."""
    inner = np.clip(frames, 1, len(onsets) - 2)
    left, here, right = onsets[inner - 1], onsets[inner], onsets[inner + 1]
    curve = left - 2 * here + right
    peaked = (here >= left) & (here >= right) & (curve < 0)
    shift = np.where(peaked, 0.5 * (left - right) / np.where(peaked, curve, 1.0), 0.0)
    weights = here + 0.01
    times, numbers = inner + shift, np.arange(len(frames))
    line = _line(numbers, times, weights)
    for _ in range(3):  # without what is far off
        rest = np.abs(times - line)
        line = _line(numbers, times, weights * (rest < max(3 * np.median(rest), 0.5)))
    rest = times - line
    loud = weights > min(np.median(weights), 0.9 * weights.max())  # a machine's are all alike
    if np.quantile(np.abs(rest[loud]), 0.8) < _STEADY_SECONDS * FRAMES_PER_SECOND:
        return line
    return line + _smoothed(rest, weights)


def _line(numbers: np.ndarray, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return where the line through weighted times has each of them; what weighs more counts by its square."""
    mass = weights**2
    mass = mass / mass.sum()
    centred = numbers - mass @ numbers
    line: np.ndarray = mass @ times + centred * ((mass * centred) @ times) / ((mass * centred) @ centred)
    return line


def _smoothed(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return where a weighted line through each value's neighbours has it."""
    offsets = np.arange(-_NEIGHBOURS, _NEIGHBOURS + 1)
    kernel = np.hanning(len(offsets) + 2)[1:-1]

    def moment(of: np.ndarray, power: int) -> np.ndarray:
        return np.convolve(of, kernel * (-offsets) ** power)[_NEIGHBOURS : _NEIGHBOURS + len(values)]

    mass, first, second = (moment(weights, power) for power in range(3))
    smooth: np.ndarray = second * moment(weights * values, 0) - first * moment(weights * values, 1)
    return smooth / np.maximum(mass * second - first**2, 1e-9)
