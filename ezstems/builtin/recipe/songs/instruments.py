"""Instruments of our own: every part gets one drawn at random, so that no net can learn a sound font by heart.

Plucked and struck strings are sums of decaying partials, electric pianos and bells frequency modulation, organs, pads
and basses sums of harmonics whose brightness fades. A lead is one line that glides and wavers, as a voice does.
All functions return mono float64 at 44.1 kHz; pitches are MIDI's.
"""

from collections.abc import Callable

import numpy as np

from ezstems.builtin.recipe.songs.effects import SAMPLE_RATE_HZ
from ezstems.builtin.recipe.songs.midi import Part
from ezstems.builtin.recipe.songs.song import Song

Voice = Callable[[float, np.ndarray], np.ndarray]
"""Return a note: its frequency in Hz and its times in seconds, to samples that sound until the last time."""

HIGHEST_HZ = 18_000.0
MOST_PARTIALS = 40
RELEASE_SECONDS = {"piano": 0.15, "bass": 0.06, "guitar": 0.12, "pad": 0.4, "arpeggio": 0.2}


def play(part: Part, song: Song) -> np.ndarray:
    """Play a part on an instrument drawn for it; return (samples, 2) float32 as long as the song."""
    rng = part.rng
    length = int(song.seconds * SAMPLE_RATE_HZ)
    beat_seconds = 60 / song.tempo_bpm
    mono = _line(part, beat_seconds, length) if part.role == "lead" else _notes(part, beat_seconds, length)
    if part.role == "guitar" and rng.random() < 0.4:
        drive = rng.uniform(2, 20)
        mono = np.tanh(drive * mono / (np.abs(mono).max() + 1e-9))
    angle = part.pan / 127 * np.pi / 2
    audio = mono[:, None] * np.array([np.cos(angle), np.sin(angle)])
    if part.role in ("pad", "arpeggio", "guitar", "piano") and rng.random() < 0.5:
        delay = int(rng.uniform(0.008, 0.03) * SAMPLE_RATE_HZ)  # a second, late take makes the instrument wide
        audio[delay:, int(rng.integers(2))] += rng.uniform(0.3, 0.9) * mono[:-delay]
    return audio.astype(np.float32)


def _notes(part: Part, beat_seconds: float, length: int) -> np.ndarray:
    """Add up the notes of a part; each pitch is computed once, as long as its longest note."""
    voice = _draw_voice(part.role, part.rng)
    release_seconds = RELEASE_SECONDS[part.role] * float(part.rng.uniform(0.5, 2))
    longest: dict[int, float] = {}
    for note in part.notes:
        longest[note.pitch] = max(longest.get(note.pitch, 0.0), note.length_beats * beat_seconds)
    sounds = {pitch: voice(_hz(pitch), _times(seconds + release_seconds)) for pitch, seconds in longest.items()}
    audio = np.zeros(length)
    for note in part.notes:
        start = int(note.beat * beat_seconds * SAMPLE_RATE_HZ)
        if start >= length:
            continue
        held = int(note.length_beats * beat_seconds * SAMPLE_RATE_HZ)
        sound = sounds[note.pitch][: min(held + int(release_seconds * SAMPLE_RATE_HZ), length - start)].copy()
        if len(sound) > held:
            sound[held:] *= np.exp(-5 * np.arange(len(sound) - held) / (release_seconds * SAMPLE_RATE_HZ))
        audio[start : start + len(sound)] += sound * (note.velocity / 100) ** 1.5
    return audio


def _draw_voice(role: str, rng: np.random.Generator) -> Voice:
    """Draw an instrument that fits a role."""
    makers = {
        "bass": (_string, _fading, _fading, _modulated),
        "piano": (_string, _string, _modulated),
        "guitar": (_string,),
        "pad": (_organ, _fading, _fading),
        "arpeggio": (_string, _fading, _modulated),
    }[role]
    maker: Callable[[str, np.random.Generator], Voice] = makers[rng.integers(len(makers))]
    return maker(role, rng)


def _string(role: str, rng: np.random.Generator) -> Voice:
    """Draw a plucked or struck string: slightly inharmonic partials, the higher the sooner gone."""
    struck = role == "piano"
    place = rng.uniform(0.06, 0.3)  # where along the string it is struck or plucked
    slope = rng.uniform(0.8, 1.8) if struck else rng.uniform(0.5, 1.6)
    stiffness = 10 ** rng.uniform(-4.5, -3.2) if struck else 10 ** rng.uniform(-5.5, -4)
    decay_seconds = rng.uniform(1.5, 6) if struck else rng.uniform(0.5, 4)
    damping = rng.uniform(0.3, 1.0)
    strings_cents = rng.normal(0, 1.2, 2 if struck else 1)
    phases = rng.uniform(0, 2 * np.pi, MOST_PARTIALS)
    thump, thump_seconds = rng.uniform(0, 0.15), rng.uniform(0.005, 0.03)
    seed = int(rng.integers(2**31))

    def voice(hz: float, times: np.ndarray) -> np.ndarray:
        sound = np.zeros_like(times)
        slower = (220 / hz) ** 0.6  # low strings ring longer
        for cents in strings_cents:
            for partial in range(1, MOST_PARTIALS + 1):
                partial_hz = hz * 2 ** (cents / 1200) * partial * np.sqrt(1 + stiffness * partial**2)
                if partial_hz > HIGHEST_HZ:
                    break
                loudness = abs(np.sin(np.pi * partial * place)) / partial**slope
                fade = np.exp(-times / (decay_seconds * slower / partial**damping))
                sound += loudness * fade * np.sin(2 * np.pi * partial_hz * times + phases[partial - 1])
        noise = np.random.default_rng(seed).normal(size=len(times)) * np.exp(-times / thump_seconds)
        return (sound + thump * noise) * np.minimum(1, times / 0.002)

    return voice


def _fading(role: str, rng: np.random.Generator) -> Voice:
    """Draw a subtractive synthesiser: a saw or square, doubled out of tune, whose filter closes after the attack."""
    odd = rng.uniform(0, 1) if rng.random() < 0.5 else 1.0  # how much of the even harmonics is there
    cutoff, opening = rng.uniform(1, 6), rng.uniform(1, 12)
    closing_seconds = rng.uniform(0.05, 0.8)
    attack_seconds = rng.uniform(0.05, 0.6) if role == "pad" else rng.uniform(0.002, 0.02)
    fade_seconds = np.inf if role == "pad" else rng.uniform(0.3, 3)
    cents = rng.normal(0, 8, int(rng.integers(1, 4))) if role != "bass" else np.array([0.0, rng.normal(0, 4)])
    sub = rng.uniform(0, 1) if role == "bass" else 0.0
    steepness = rng.uniform(1.5, 4)

    def voice(hz: float, times: np.ndarray) -> np.ndarray:
        corner = cutoff + opening * np.exp(-times / closing_seconds)
        sound = sub * np.sin(np.pi * hz * times)
        for partial in range(1, MOST_PARTIALS + 1):
            if partial * hz > HIGHEST_HZ:
                break
            loudness = (1.0 if partial % 2 else odd) / partial / np.sqrt(1 + (partial / corner) ** (2 * steepness))
            waves = sum(np.sin(2 * np.pi * partial * hz * 2 ** (cent / 1200) * times + cent) for cent in cents)
            sound += loudness * waves
        return sound * np.minimum(1, times / attack_seconds) * np.exp(-times / fade_seconds)

    return voice


def _modulated(role: str, rng: np.random.Generator) -> Voice:
    """Draw two-operator frequency modulation (J. Chowning): electric pianos, bells, hard basses."""
    ratio = float(rng.choice({"bass": [1, 2, 3], "piano": [1, 2, 7, 14]}.get(role, [1, 1.41, 2, 3.5, 7])))
    depth, depth_seconds = rng.uniform(0.5, 5), rng.uniform(0.1, 1.2)
    tine = rng.uniform(0, 0.4)
    fade_seconds = rng.uniform(0.6, 3)
    tremolo, tremolo_hz = rng.uniform(0, 0.4), rng.uniform(3, 7)

    def voice(hz: float, times: np.ndarray) -> np.ndarray:
        index = depth / max(1.0, hz * ratio / 1500) * np.exp(-times / depth_seconds)
        sound = np.sin(2 * np.pi * hz * times + index * np.sin(2 * np.pi * hz * ratio * times))
        sound += tine * np.sin(2 * np.pi * min(hz * 4, 8000) * times) * np.exp(-times / 0.08)
        wobble = 1 - tremolo * (0.5 + 0.5 * np.sin(2 * np.pi * tremolo_hz * times))
        return sound * wobble * np.minimum(1, times / 0.003) * np.exp(-times / fade_seconds)

    return voice


def _organ(role: str, rng: np.random.Generator) -> Voice:
    """Draw a tone-wheel organ's drawbars and its rotating loudspeaker."""
    drawbars = {ratio: rng.uniform(0, 1) ** 2 for ratio in (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8)}
    drawbars[1] = 1.0
    speed_hz, depth = float(rng.choice([0.8, 6.5])), rng.uniform(0, 0.003)

    def voice(hz: float, times: np.ndarray) -> np.ndarray:
        turned = times + depth / 10 * np.sin(2 * np.pi * speed_hz * times)
        sounding = {hz * ratio: gain for ratio, gain in drawbars.items() if hz * ratio < HIGHEST_HZ}
        sound = sum(gain * np.sin(2 * np.pi * tone_hz * turned) for tone_hz, gain in sounding.items())
        beat = 1 + 60 * depth * np.sin(2 * np.pi * speed_hz * times)
        return np.asarray(sound) * beat * np.minimum(1, times / 0.01)

    return voice


def _line(part: Part, beat_seconds: float, length: int) -> np.ndarray:
    """Play a lead as one gliding, wavering tone: what moves like a voice without being one."""
    rng = part.rng
    glide_seconds, vibrato, vibrato_hz = rng.uniform(0.002, 0.08), rng.uniform(0, 0.6), rng.uniform(4, 7)
    slope, odd = rng.uniform(0.6, 2.2), float(rng.choice([0.0, 0.3, 1.0, 1.0]))
    attack_seconds, release_seconds = rng.uniform(0.005, 0.08), rng.uniform(0.02, 0.15)
    brightness_seconds = rng.uniform(0.1, 1)
    pitches, gains, ages = np.full(length, np.nan), np.zeros(length), np.zeros(length)
    for note in sorted(part.notes, key=lambda note: note.beat):
        start = int(note.beat * beat_seconds * SAMPLE_RATE_HZ)
        end = min(length, start + int(note.length_beats * beat_seconds * SAMPLE_RATE_HZ))
        if start >= end:
            continue
        seconds = np.arange(end - start) / SAMPLE_RATE_HZ
        before = pitches[start - 1] if start and not np.isnan(pitches[start - 1]) else note.pitch
        wave = vibrato * np.clip((seconds - 0.15) / 0.3, 0, 1) * np.sin(2 * np.pi * vibrato_hz * seconds)
        pitches[start:end] = note.pitch + (before - note.pitch) * np.exp(-seconds / glide_seconds) + wave
        left = seconds[::-1]
        gains[start:end] = np.minimum(np.minimum(1, seconds / attack_seconds), left / release_seconds)
        gains[start:end] *= (note.velocity / 100) ** 1.5
        ages[start:end] = seconds
    pitches = np.nan_to_num(pitches, nan=60.0)
    hz = 440 * 2 ** ((pitches - 69) / 12)
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE_HZ
    dulling = np.exp(-ages / brightness_seconds)
    audio = np.zeros(length)
    for partial in range(1, 17):
        loudness = (1.0 if partial % 2 else odd) / partial**slope
        fade = (0.3 + 0.7 * dulling) if partial > 3 else 1.0
        audio += np.where(partial * hz < HIGHEST_HZ, loudness * fade, 0.0) * np.sin(partial * phase)
    return audio * gains


def _hz(pitch: float) -> float:
    """Return a MIDI pitch's frequency."""
    return float(440 * 2 ** ((pitch - 69) / 12))


def _times(seconds: float) -> np.ndarray:
    """Return the times of the samples of a duration, in seconds."""
    return np.arange(int(seconds * SAMPLE_RATE_HZ) + 1) / SAMPLE_RATE_HZ
