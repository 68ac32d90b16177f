"""Little songs whose tempo, beats and key are known, and sounds that have none."""

import numpy as np

from ezstems.audio import stft
from ezstems.audio.music import Listener, Music, hear
from tests.support.audio_files import RATE_HZ

# Chords of a key, as semitones above its tonic: I IV V vi, and i iv V i of the harmonic minor.
CHORDS = {
    "major": ((0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16)),
    "minor": ((0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7)),
}
# Of each beat: what begins at which part of it, on even and on odd beats.
PATTERNS = {
    "click": ((("hat", 0.0),), (("hat", 0.0),)),
    "rock": ((("kick", 0.0), ("hat", 0.0), ("hat", 0.5)), (("snare", 0.0), ("hat", 0.0), ("hat", 0.5))),
    "house": ((("kick", 0.0), ("hat", 0.5), ("bass", 0.5)), (("kick", 0.0), ("snare", 0.0), ("hat", 0.5))),
    "swing": ((("kick", 0.0), ("hat", 0.0), ("hat", 2 / 3)), (("snare", 0.0), ("hat", 0.0), ("hat", 2 / 3))),
    "pushed": ((("kick", 0.0), ("kick", 0.75), ("hat", 0.5)), (("snare", 0.0), ("kick", 0.5), ("hat", 0.25))),
    "arpeggio": ((("note", 0.0), ("note", 0.5)), (("note", 0.0), ("note", 0.5))),
}
FIRST_BEAT_SECONDS = 0.3


def beats_of(bpm: float, seconds: float, sway: float = 0.0) -> np.ndarray:
    """Return when the beats of a song come, whose tempo sways by a fraction of it."""
    numbers = np.arange(int(seconds * bpm / 60) + 8)
    steps = 60 / bpm * (1 + sway * np.sin(2 * np.pi * numbers / 40))
    return FIRST_BEAT_SECONDS + np.cumsum(steps) - steps[0]


def made_song(
    pattern: str, beats: np.ndarray, seconds: float, tonic: int, mode: str, tuning: float = 0.0
) -> np.ndarray:
    """Make float32 (samples, 2) of a pattern and a chord a bar; the tuning is in semitones off 440 Hz."""
    random = np.random.default_rng(0)
    audio = random.normal(0, 1e-3, round(seconds * RATE_HZ))
    root = tonic + tuning + (60 if tonic < 3 else 48)
    for number in range(len(beats) - 1):
        chord = CHORDS[mode][number // 4 % 4]
        step = beats[number + 1] - beats[number]
        if number % 4 == 0 and pattern != "arpeggio":
            for semitones in chord:
                _put(audio, beats[number], 0.1 * _tone(root + semitones, 4 * step))
        for place, (what, part) in enumerate(PATTERNS[pattern][number % 2]):
            tone = root + chord[(2 * number + place) % 3] if what == "note" else root + chord[0] - 12
            sound = 0.25 * _tone(tone, 0.9 * step) if what in ("note", "bass") else _drum(what, random)
            _put(audio, beats[number] + part * step, sound)
    return np.repeat((0.5 / np.abs(audio).max() * audio)[:, None], 2, axis=1).astype(np.float32)


def listen(audio: np.ndarray) -> Music:
    """Return what a separation hears of float32 samples (n, 2)."""
    workspace, listener = stft.Workspace(1024, True), Listener()
    for tile, count in stft.tiles([audio]):
        frames = stft.frames(count)
        listener.add(hear(workspace.magnitudes(tile, frames), frames))
    return listener.music()


def babble(seconds: float, seed: int = 1) -> np.ndarray:
    """Make float32 (samples, 2) of what is as irregular as speech: voiced syllables, consonants, pauses."""
    random = np.random.default_rng(seed)
    audio = np.zeros(round(seconds * RATE_HZ))
    at = 0.0
    while at < seconds:
        length = random.gamma(6, 0.03)
        samples = round(length * RATE_HZ)
        phase = np.cumsum(random.uniform(90, 160) * np.linspace(1, random.uniform(0.8, 1.1), samples)) / RATE_HZ
        voice = sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 25)) * np.hanning(samples)
        hiss = random.normal(size=samples) * np.exp(-np.arange(samples) / (0.03 * RATE_HZ))
        _put(audio, at, 0.2 * random.uniform(0.3, 1) * voice + 0.1 * hiss * (random.random() < 0.5))
        at += length + (random.uniform(0.2, 1) if random.random() < 0.1 else 0.0)
    return np.repeat(audio[:, None], 2, axis=1).astype(np.float32)


def _put(audio: np.ndarray, at_seconds: float, sound: np.ndarray) -> None:
    start = round(at_seconds * RATE_HZ)
    room = audio[start : start + len(sound)]
    room += sound[: len(room)]


def _tone(note: float, seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hz = 440.0 * 2 ** ((note - 69) / 12)
    tone = sum(np.sin(2 * np.pi * hz * k * t) / k**1.3 for k in range(1, 6))
    return tone * np.exp(-1.5 * t / max(seconds, 0.2)) * np.minimum(1, 200 * t) * np.minimum(1, 100 * (seconds - t))


def _drum(name: str, random: np.random.Generator) -> np.ndarray:
    t = np.arange(round(0.25 * RATE_HZ)) / RATE_HZ
    if name == "kick":
        return 0.7 * np.sin(2 * np.pi * (50 * t + 3 * (1 - np.exp(-30 * t)))) * np.exp(-12 * t)
    noise = random.normal(size=len(t))
    return 0.2 * noise * np.exp(-20 * t) if name == "snare" else 0.2 * np.diff(noise, prepend=0) * np.exp(-70 * t)
