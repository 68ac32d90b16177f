"""Songs: tempo, key, chords, sections and melody, all drawn from a seed."""

from dataclasses import dataclass

import numpy as np

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
# Four bars each, in degrees of the scale (0 is the tonic's chord).
PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 4), (0, 5, 1, 4), (1, 4, 0, 0),
    (0, 2, 3, 4), (5, 4, 3, 4), (0, 6, 5, 4), (0, 0, 3, 0), (0, 0, 0, 0), (3, 4, 5, 0),
)  # fmt: skip
BEATS_PER_BAR = 4
BARS_PER_SECTION = 4


@dataclass(frozen=True)
class Phrase:
    """Hold one sung phrase: its first beat, and (pitch or None for a rest, beats) note by note."""

    beat: float
    notes: tuple[tuple[int | None, float], ...]


@dataclass(frozen=True)
class Song:
    """Hold what all players of a song agree on."""

    tempo_bpm: float
    seconds: float
    key: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    swing_beats: float

    @property
    def bars(self) -> int:
        """Return the number of bars, the last one cut off by the song's end."""
        return len(self.chords)

    def pitch(self, degree: int, octave: int) -> int:
        """Return the MIDI pitch of a degree of the scale; degrees past 6 go on into the next octave."""
        return self.key + 12 * octave + self.scale[degree % 7] + 12 * (degree // 7)

    def triad(self, bar: int, octave: int) -> list[int]:
        """Return the three pitches of a bar's chord."""
        return [self.pitch(self.chords[bar] + third, octave) for third in (0, 2, 4)]


def compose(rng: np.random.Generator, seconds: float) -> Song:
    """Draw a song of a given length."""
    tempo_bpm = float(rng.uniform(66, 168))
    bars = int(seconds * tempo_bpm / 60 / BEATS_PER_BAR) + 1
    verse, chorus = (PROGRESSIONS[rng.integers(len(PROGRESSIONS))] for _ in range(2))
    chords = tuple((verse if (bar // 8) % 2 == 0 else chorus)[bar % 4] for bar in range(bars))
    return Song(
        tempo_bpm=tempo_bpm,
        seconds=seconds,
        key=int(rng.integers(12)),
        scale=SCALES[str(rng.choice(list(SCALES)))],
        chords=chords,
        swing_beats=float(rng.choice([0.0, 0.0, 0.0, 0.12])),
    )


def active_bars(song: Song, rng: np.random.Generator, probability: float) -> list[int]:
    """Draw section by section whether a player plays; return the bars in which it does."""
    sections = -(-song.bars // BARS_PER_SECTION)
    plays = rng.random(sections) < probability
    return [bar for bar in range(song.bars) if plays[bar // BARS_PER_SECTION]]


def melody(song: Song, rng: np.random.Generator, lowest: int, highest: int) -> list[Phrase]:
    """Draw the sung phrases of a song, every pitch within a singer's range (at least an octave)."""
    fast = rng.random() < 0.12
    lengths_beats = [0.25, 0.25, 0.5] if fast else [0.25, 0.5, 0.5, 0.5, 1.0, 1.0, 1.5, 2.0]
    phrases = []
    bar, walk = int(rng.integers(3)), 0
    while bar < song.bars - 1:
        bars = int(rng.choice([1, 2, 2]))
        notes: list[tuple[int | None, float]] = []
        beat = 0.0
        while beat < BEATS_PER_BAR * bars - 0.5:
            length = float(rng.choice(lengths_beats))
            walk = int(np.clip(walk + rng.integers(-2, 3), -4, 6))
            chord = song.chords[min(song.bars - 1, bar + int(beat // BEATS_PER_BAR))]
            on_chord = beat % BEATS_PER_BAR == 0 and rng.random() < 0.8
            pitch = song.pitch(chord + int(rng.choice([0, 2, 4])) if on_chord else walk, 4)
            while pitch > highest:
                pitch -= 12
            while pitch < lowest:
                pitch += 12
            notes.append((pitch if rng.random() < 0.93 else None, length))
            beat += length
        if rng.random() < 0.82:
            phrases.append(Phrase(bar * BEATS_PER_BAR, tuple(notes)))
        bar += bars
    return phrases
