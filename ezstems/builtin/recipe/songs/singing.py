"""Singing: the WORLD vocoder stretches spoken syllables to notes and gives them a melody."""

from dataclasses import dataclass

import numpy as np
import pyworld
from scipy.signal import find_peaks, lfilter, resample_poly

from ezstems.builtin.recipe.songs import effects, formants
from ezstems.builtin.recipe.songs.formants import Throat
from ezstems.builtin.recipe.songs.song import Phrase, Song, melody
from ezstems.builtin.recipe.songs.speech import VOICES, draw_voice, speak

SAMPLE_RATE_HZ = effects.SAMPLE_RATE_HZ
FRAMES_PER_SECOND = 200  # WORLD's own default: an analysis frame every 5 ms
TRAINING_VOICES = VOICES + (formants.NAME,) * 10


@dataclass(frozen=True)
class Singer:
    """Hold how one voice sings: range in MIDI pitches, ornaments in semitones, timbre as factors."""

    voice: str
    throat: Throat | None
    lowest: int
    highest: int
    glide_seconds: float
    vibrato: float
    vibrato_hz: float
    drift: float
    scoop: float
    formants: float
    breath: float
    tilt_db_per_octave: float


def draw_singer(rng: np.random.Generator, voices: tuple[str, ...]) -> Singer:
    """Draw a low, middle or high voice."""
    lowest, highest, higher = [
        (41, 60, rng.uniform(0.85, 1.02)),
        (48, 67, rng.uniform(0.88, 1.08)),
        (55, 76, rng.uniform(1.0, 1.25)),
    ][rng.integers(3)]
    voice = draw_voice(rng, voices)
    return Singer(
        voice=voice,
        throat=formants.draw_throat(rng, higher) if voice == formants.NAME else None,
        lowest=lowest,
        highest=highest,
        glide_seconds=rng.uniform(0.015, 0.07),
        vibrato=rng.uniform(0, 0.7) if rng.random() < 0.75 else 0.0,
        vibrato_hz=rng.uniform(4.5, 6.5),
        drift=rng.uniform(0, 0.014),
        scoop=rng.uniform(0, 1.5) if rng.random() < 0.75 else 0.0,
        formants=higher,
        breath=rng.uniform(0.4, 1.3),
        tilt_db_per_octave=rng.uniform(-2.5, 1.6),
    )


def vocals(song: Song, rng: np.random.Generator, voices: tuple[str, ...]) -> np.ndarray:
    """Sing a song, with doublings and harmonies; return (samples, 2) float32, mixed as a studio would."""
    singer = draw_singer(rng, voices)
    length = int(song.seconds * SAMPLE_RATE_HZ)
    beat_seconds = 60 / song.tempo_bpm
    audio = np.zeros((length, 2), np.float32)
    for phrase in melody(song, rng, singer.lowest, singer.highest):
        tracks = 1 if rng.random() < 0.6 else int(rng.integers(2, 4))
        for track in range(tracks):
            interval = int(rng.choice([0, 0, 3, 4, -5, 7, 12, -12])) if track else 0
            sung = _sing(phrase, interval, beat_seconds, singer, rng)
            start = max(0, int((phrase.beat * beat_seconds + 0.05 + rng.normal(0, 0.015)) * SAMPLE_RATE_HZ))
            sung = sung[: max(0, length - start)]
            angle = rng.uniform(0, np.pi / 2) if track else np.pi / 4
            gain = rng.uniform(0.3, 0.8) if track else np.sqrt(2)
            place = gain * np.array([np.cos(angle), np.sin(angle)])
            audio[start : start + len(sung)] += sung[:, None] * place
    return _produce(audio, beat_seconds, rng)


def _produce(audio: np.ndarray, beat_seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Treat a raw vocal track: low cut, colour, compression, echo, reverb, rarely saturation."""
    audio = effects.cut_lows(audio, rng.uniform(30, 110))
    if rng.random() < 0.3:
        audio = effects.equalise(audio, rng.uniform(120, 300), rng.uniform(2, 7))
    audio = effects.colour(audio, rng)
    if rng.random() < 0.7:
        audio = effects.compress(audio, rng)
    if rng.random() < 0.25:
        audio = effects.echo(audio, beat_seconds * float(rng.choice([0.5, 0.75, 1])))
    if rng.random() < 0.85:
        audio = effects.reverberate(audio, rng)
    return effects.saturate(audio, rng.uniform(2, 6)) if rng.random() < 0.12 else audio


def _sing(phrase: Phrase, interval: int, beat_seconds: float, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Sing one phrase, transposed by an interval; return (samples,) float64 at 44.1 kHz."""
    lengths = [max(8, int(beats * beat_seconds * FRAMES_PER_SECOND)) for _, beats in phrase.notes]
    if singer.throat:
        spectra, noisiness, voiced = formants.articulate(lengths, singer.throat, rng)
        rate_hz = formants.RATE_HZ
    else:
        words = speak(max(2, int(len(phrase.notes) * 0.8)), singer.voice, rng)
        stretched = _stretch_speech(*words, lengths, singer)
        if stretched is None:
            return np.zeros(1)
        spectra, noisiness, voiced = stretched
        rate_hz = words[1]
    curve = []
    previous = next((pitch for pitch, _ in phrase.notes if pitch is not None), 60)
    for (pitch, _), frames in zip(phrase.notes, lengths, strict=True):
        curve.append(np.full(frames, -np.inf) if pitch is None else _pitch_curve(pitch, previous, frames, singer, rng))
        previous = previous if pitch is None else pitch
    pitches = np.concatenate(curve) + interval
    silent = np.isneginf(pitches)
    sung_hz = np.where(voiced & ~silent, 440 * 2 ** ((np.where(silent, 69, pitches) - 69) / 12), 0.0)
    spectra[silent] = 1e-12
    sung = pyworld.synthesize(sung_hz, spectra, noisiness, rate_hz, 1000 / FRAMES_PER_SECOND)
    if rate_hz != SAMPLE_RATE_HZ:
        sung = resample_poly(sung, SAMPLE_RATE_HZ // 50, rate_hz // 50)
    sung *= 0.1 / (np.sqrt((sung**2).mean()) + 1e-6)
    return np.concatenate([_breath(rng), sung]) if interval == 0 and rng.random() < 0.4 else sung


def _stretch_speech(
    speech: np.ndarray, rate_hz: int, lengths: list[int], singer: Singer
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Hold spoken syllables for the frames of each note; return WORLD's parameters, None if no syllable was found."""
    coarse, times = pyworld.dio(speech, rate_hz, f0_floor=60, f0_ceil=500)
    spoken_hz = pyworld.stonemask(speech, coarse, times, rate_hz)
    spectra = pyworld.cheaptrick(speech, spoken_hz, times, rate_hz)
    noisiness = pyworld.d4c(speech, spoken_hz, times, rate_hz)
    syllables = _syllables(np.sqrt(spectra.sum(axis=1)) * (spoken_hz > 0))
    if not syllables:
        return None
    positions = [_stretch(syllables[number % len(syllables)], frames) for number, frames in enumerate(lengths)]
    frame = np.clip(np.concatenate(positions), 0, len(spoken_hz) - 1).astype(int)
    return *_timbre(spectra[frame], noisiness[frame], singer), spoken_hz[frame] > 0


def _syllables(loudness: np.ndarray) -> list[tuple[int, int, int]]:
    """Find syllables as (start, nucleus, end) in frames, from the loudness of the voiced frames."""
    smooth = np.convolve(loudness, np.hanning(15) / 7, "same")
    nuclei, _ = find_peaks(smooth, distance=18, height=0.12 * smooth.max())
    if not len(nuclei):
        return []
    valleys = [a + int(np.argmin(smooth[a:b])) for a, b in zip(nuclei, nuclei[1:], strict=False)]
    starts = [max(0, int(nuclei[0]) - 25), *valleys]
    ends = [*valleys, min(len(smooth) - 1, int(nuclei[-1]) + 30)]
    return [(start, int(nucleus), end) for start, nucleus, end in zip(starts, nuclei, ends, strict=True)]


def _stretch(syllable: tuple[int, int, int], frames: int) -> np.ndarray:
    """Return the spoken frame for each sung frame: consonants keep their pace, the vowel is held."""
    start, nucleus, end = syllable
    before, after = min(nucleus - start, int(frames * 0.45)), min(end - nucleus, int(frames * 0.35))
    drift = min(6, nucleus - start, end - nucleus) * np.sin(np.linspace(-np.pi / 2, np.pi / 2, frames - before - after))
    return np.concatenate([np.arange(nucleus - before, nucleus), nucleus + drift, nucleus + np.arange(after)])


def _pitch_curve(pitch: int, previous: int, frames: int, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Return a note's MIDI pitch frame by frame: a glide and a scoop into it, late vibrato, a little drift."""
    seconds = np.arange(frames) / FRAMES_PER_SECOND
    glide = (previous - pitch) * np.exp(-seconds / singer.glide_seconds)
    depth = singer.vibrato * np.clip((seconds - 0.15) / 0.25, 0, 1)
    vibrato = depth * np.sin(2 * np.pi * singer.vibrato_hz * seconds + rng.uniform(0, 2 * np.pi))
    scoop = -singer.scoop * np.exp(-seconds / 0.06)
    return pitch + glide + vibrato + scoop + np.cumsum(rng.normal(0, 1, frames)) * singer.drift


def _timbre(spectra: np.ndarray, noisiness: np.ndarray, singer: Singer) -> tuple[np.ndarray, np.ndarray]:
    """Shift the formants, tilt the spectrum and change the breath of WORLD's (frames, bins) parameters."""
    bins = np.arange(spectra.shape[1])
    source = np.clip(bins / singer.formants, 0, len(bins) - 1).astype(int)
    tilt = 10 ** (singer.tilt_db_per_octave * np.log2(np.maximum(bins, 1) / 20) / 10)
    shifted = np.ascontiguousarray(spectra[:, source] * np.clip(tilt, 0.05, 30))
    breathed = np.clip(noisiness[:, source] ** singer.breath, 1e-6, 1 - 1e-6)
    return shifted, np.ascontiguousarray(breathed)


def _breath(rng: np.random.Generator) -> np.ndarray:
    """Return a breath drawn before a phrase: a quarter of a second of hissing noise."""
    length = int(rng.uniform(0.15, 0.35) * SAMPLE_RATE_HZ)
    hiss = lfilter([1, -0.95], [1, -rng.uniform(0.3, 0.8)], rng.normal(size=length)) * np.hanning(length) ** 2
    return hiss * (rng.uniform(0.004, 0.02) / np.sqrt((hiss**2).mean()))
