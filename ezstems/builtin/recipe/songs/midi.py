"""Notes of one instrument, and the Standard MIDI File that a sound font player renders."""

import struct
from dataclasses import dataclass, field

import numpy as np

TICKS_PER_BEAT = 480
DRUM_CHANNEL = 9
LOWEST_PITCH, HIGHEST_PITCH = 12, 115
SHORTEST_BEATS = 0.05
VOLUME, PAN, REVERB, CHORUS = 7, 10, 91, 93


@dataclass(frozen=True)
class Note:
    """Hold one note; beats count from the song's beginning, velocity is MIDI's 1 to 127."""

    beat: float
    length_beats: float
    pitch: int
    velocity: int


@dataclass
class Part:
    """Collect the notes of one instrument, played with a human's unevenness."""

    rng: np.random.Generator
    role: str  # what it plays: drums, bass, piano, pad, guitar, lead or arpeggio
    program: int
    pan: int = 64
    sway_beats: float = 0.01
    notes: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose the volume and effects of the channel."""
        self.controls = {
            VOLUME: int(self.rng.integers(80, 120)),
            PAN: self.pan,
            REVERB: int(self.rng.integers(0, 90)),
            CHORUS: int(self.rng.integers(0, 60)),
        }

    def note(self, beat: float, pitch: int, length_beats: float, velocity: float) -> None:
        """Add a note, unless its pitch is one that no instrument plays."""
        if not LOWEST_PITCH <= pitch <= HIGHEST_PITCH:
            return
        loudness = int(np.clip(velocity + self.rng.normal(0, 7), 10, 127))
        start = max(0.0, beat + self.rng.normal(0, self.sway_beats))
        self.notes.append(Note(start, max(length_beats, SHORTEST_BEATS), pitch, loudness))


def midi_file(part: Part, tempo_bpm: float) -> bytes:
    """Return a one-track Standard MIDI File of a part."""
    channel = DRUM_CHANNEL if part.role == "drums" else 0
    messages = [(0.0, bytes([0xC0 | channel, part.program]))]
    messages += [(0.0, bytes([0xB0 | channel, control, value])) for control, value in part.controls.items()]
    for note in part.notes:
        messages.append((note.beat, bytes([0x90 | channel, note.pitch, note.velocity])))
        messages.append((note.beat + note.length_beats, bytes([0x80 | channel, note.pitch, 0])))
    track = b"\x00\xff\x51\x03" + int(60e6 / tempo_bpm).to_bytes(3, "big")
    now_ticks = 0
    for beat, message in sorted(messages, key=lambda timed: timed[0]):
        ticks = max(now_ticks, round(beat * TICKS_PER_BEAT))
        track += _variable_length(ticks - now_ticks) + message
        now_ticks = ticks
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS_PER_BEAT)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


def _variable_length(number: int) -> bytes:
    """Encode a time difference seven bits a byte, the last byte without the high bit."""
    digits = [number & 127]
    while number := number >> 7:
        digits.append((number & 127) | 128)
    return bytes(digits[::-1])
