"""The players of a song: drums, bass, piano and the other instruments, as notes."""

import numpy as np

from ezstems.builtin.recipe.songs.midi import Part
from ezstems.builtin.recipe.songs.song import Song, active_bars

# General MIDI: percussion keys and programme numbers.
KICKS, SNARES, HATS, TOMS = (35, 36), (38, 38, 38, 40, 39, 37), (42, 42, 51, 46, 44), (41, 43, 45, 47, 48, 50, 38)
PERCUSSION, CRASHES, OPEN_HAT = (54, 56, 62, 63, 64, 69, 70, 75), (49, 57), 46
DRUM_KITS = (0, 0, 8, 16, 24, 25, 32, 40, 48)
BASSES = (32, 33, 33, 34, 34, 35, 36, 37, 38, 39)
PIANOS = (0, 0, 0, 1, 2, 3, 4, 5)
PADS = (16, 17, 18, 19, 20, 21, 44, 48, 49, 50, 51, 55, 61, 88, 89, 90, 92, 93, 94, 95)
GUITARS = (24, 25, 25, 26, 27, 27, 28, 29, 30, 30, 31, 46, 104, 105)
DISTORTED = (29, 30)
LEADS = (11, 12, 22, 29, 30, 40, 42, 56, 57, 59, 60, 64, 65, 66, 68, 71, 73, 75, 80, 81, 82, 84, 87)
ARPEGGIATED = (6, 7, 8, 10, 11, 12, 13, 14, 45, 46, 62, 63, 80, 81, 96, 98, 108)

# Beats of a bar: kick, then snare.
GROOVES = (
    ((0, 2), (1, 3)), ((0, 1, 2, 3), (1, 3)), ((0, 0.75, 2.5), (1, 3)), ((0, 1.5, 2.75), (1, 3, 3.75)),
    ((0,), (2,)), ((0, 2.5, 3.5), (1, 3)), ((0, 0.5, 2, 2.25), (1, 2.25, 3)),
)  # fmt: skip


def drums(song: Song, rng: np.random.Generator) -> list[Part]:
    """Play a groove with hi-hat, crashes, fills and sometimes hand percussion."""
    part = Part(rng, "drums", int(rng.choice(DRUM_KITS)), sway_beats=0.006)
    kicks, snares = GROOVES[rng.integers(len(GROOVES))]
    kick, snare, hat = int(rng.choice(KICKS)), int(rng.choice(SNARES)), int(rng.choice(HATS))
    hats_per_beat = 2 if song.tempo_bpm > 125 else int(rng.choice([2, 4]))
    percussion = rng.choice(PERCUSSION, 3) if rng.random() < 0.25 else ()
    for bar in active_bars(song, rng, 0.92):
        beat = 4 * bar
        for offset in kicks:
            part.note(beat + offset, kick, 0.2, 112)
        for offset in snares:
            part.note(beat + offset, snare, 0.2, 105)
        for tick in range(4 * hats_per_beat):
            if rng.random() < 0.9:
                key = OPEN_HAT if rng.random() < 0.04 else hat
                late = song.swing_beats if tick % 2 else 0.0
                part.note(beat + tick / hats_per_beat + late, key, 0.1, 62 if tick % hats_per_beat else 85)
        if bar % 4 == 0:
            part.note(beat, int(rng.choice(CRASHES)), 1, 105)
        if bar % 4 == 3:
            for hit in range(int(rng.integers(3, 8))):
                part.note(beat + 2 + hit / 4, int(rng.choice(TOMS)), 0.2, 90 + 3 * hit)
        if len(percussion):
            for half in range(8):
                part.note(beat + half / 2, int(rng.choice(percussion)), 0.1, 70)
    return [part]


def bass(song: Song, rng: np.random.Generator) -> list[Part]:
    """Play roots, walking lines, octaves or held notes below middle C."""
    part = Part(rng, "bass", int(rng.choice(BASSES)))
    style = rng.integers(5)
    for bar in active_bars(song, rng, 0.9):
        beat = 4 * bar
        root = song.pitch(song.chords[bar], 2)
        root -= 12 * (root > 43)
        if style == 0:
            line = [(half / 2, root, 0.45) for half in range(8)]
        elif style == 1:
            steps = [0, *(int(step) for step in rng.choice([0, 1, 2, 4, 6], 3))]
            line = [(i, song.pitch(song.chords[bar] + step, 2) - 12 * (root < 40), 0.9) for i, step in enumerate(steps)]
        elif style == 2:
            line = [(0, root, 1.4), (1.5, root, 0.9), (2.5, root + 12 * int(rng.random() < 0.3), 1.3)]
        elif style == 3:
            line = [(0, root, 3.8)]
        else:
            line = [(half / 2, root + 12 * (half % 2), 0.3) for half in range(8)]
        for offset, pitch, length in line:
            part.note(beat + offset, pitch, length, 97)
    return [part]


def piano(song: Song, rng: np.random.Generator) -> list[Part]:
    """Play block chords, broken chords, held chords or a right-hand line, sometimes with a left hand."""
    part = Part(rng, "piano", int(rng.choice(PIANOS)), int(rng.integers(20, 108)), 0.012)
    style, octave = rng.integers(5), int(rng.choice([4, 5, 5]))
    for bar in active_bars(song, rng, 0.85):
        beat, chord = 4 * bar, song.triad(bar, octave)
        if style in (0, 1, 2) and rng.random() < 0.6:
            part.note(beat, chord[0] - 12, 2, 80)
            part.note(beat + 2, chord[0] - 12, 1.8, 76)
        if style == 0:
            _strum(part, [beat + i for i in range(4)], chord, 0.9, 78, 0.0)
        elif style == 1:
            pattern = [*chord, chord[0] + 12, chord[2], chord[1]]
            for half in range(8):
                part.note(beat + half / 2, pattern[half % 6], 0.6, 80)
        elif style == 2:
            _strum(part, [beat, beat + 1.5, beat + 3], chord, 0.7, 85, 0.0)
        elif style == 3:
            _strum(part, [beat], [chord[0] - 24, *chord], 3.7, 76, 0.02)
        else:
            for half in range(8):
                if rng.random() < 0.8:
                    degree = song.chords[bar] + int(rng.choice([0, 2, 4, 7, 1]))
                    part.note(beat + half / 2, song.pitch(degree, octave + 1), 0.5, 85)
    return [part]


def other(song: Song, rng: np.random.Generator) -> list[Part]:
    """Play one to three of pads, guitars, leads and arpeggios."""
    players: list[Part] = []
    kinds = rng.permutation(["pad", "guitar", "guitar", "lead", "arpeggio"])[: rng.integers(1, 4)]
    for kind in kinds:
        programs = {"pad": PADS, "guitar": GUITARS, "lead": LEADS, "arpeggio": ARPEGGIATED}[str(kind)]
        part = Part(rng, str(kind), int(rng.choice(programs)), int(rng.integers(20, 108)))
        play = {"pad": _pad, "guitar": _guitar, "lead": _lead, "arpeggio": _arpeggio}[str(kind)]
        play(song, rng, part)
        players.append(part)
    return players


def _strum(part: Part, beats: list[float], pitches: list[int], length: float, velocity: float, delay: float) -> None:
    """Play a chord at every beat given, its notes one after the other by a delay in beats."""
    for beat in beats:
        for i, pitch in enumerate(pitches):
            part.note(beat + delay * i, pitch, length, velocity)


def _pad(song: Song, rng: np.random.Generator, part: Part) -> None:
    """Hold the chord of every bar."""
    octave = int(rng.choice([4, 4, 5]))
    for bar in active_bars(song, rng, 0.8):
        _strum(part, [4 * bar], song.triad(bar, octave), 3.95, 75, 0.0)


def _guitar(song: Song, rng: np.random.Generator, part: Part) -> None:
    """Play power chords on a distorted guitar; pick or strum on a clean one."""
    rhythm = ((), (0, 1, 1.5, 2.5, 3, 3.5), (0, 1, 2, 3), (0.5, 1.5, 2.5, 3.5))[rng.integers(4)]
    chugging = rng.random() < 0.5
    for bar in active_bars(song, rng, 0.8):
        beat, chord = 4 * bar, song.triad(bar, 4)
        if part.program in DISTORTED:
            beats = [beat + i / 2 for i in range(8)] if chugging else [beat + 0.0, beat + 2.0]
            _strum(part, beats, [chord[0] - 12, chord[0] - 5, chord[0]], 0.45 if chugging else 1.9, 90, 0.0)
        elif not rhythm:
            pattern = [chord[0] - 12, *chord, chord[0] + 12, chord[2], chord[1], chord[2]]
            for half in range(8):
                part.note(beat + half / 2, pattern[half], 1, 80)
        else:
            strings = [chord[0] - 12, *chord, chord[0] + 12]
            for offset in rhythm:
                _strum(part, [beat + offset], strings[:: -1 if rng.random() < 0.4 else 1], 0.6, 80, 0.012)


def _lead(song: Song, rng: np.random.Generator, part: Part) -> None:
    """Play a line that walks the scale."""
    walk = 0
    for bar in active_bars(song, rng, 0.7):
        offset = 0.0
        while offset < 4:
            length = float(rng.choice([0.5, 0.5, 1, 1, 1.5, 2]))
            walk = int(np.clip(walk + rng.integers(-2, 3), -5, 7))
            if rng.random() < 0.75:
                part.note(4 * bar + offset, song.pitch(walk, 5), length * 0.95, 88)
            offset += length


def _arpeggio(song: Song, rng: np.random.Generator, part: Part) -> None:
    """Run through the chord in eighths or sixteenths."""
    notes_per_beat, stride = int(rng.choice([2, 4])), int(rng.choice([1, 2]))
    for bar in active_bars(song, rng, 0.8):
        chord = song.triad(bar, 5)
        pattern = [*chord, chord[0] + 12, *chord[::-1]]
        for i in range(4 * notes_per_beat):
            part.note(4 * bar + i / notes_per_beat, pattern[(i * stride) % len(pattern)], 0.8 / notes_per_beat, 78)
