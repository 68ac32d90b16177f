"""Notes of one instrument, and the Standard MIDI File that a sound font player renders."""

import struct
from dataclasses import dataclass, field

import numpy as np

Event = tuple[float, bytes]

TICKS_PER_BEAT = 480
DRUM_CHANNEL = 9
LOWEST_PITCH, HIGHEST_PITCH = 12, 115
VOLUME, PAN, REVERB, CHORUS = 7, 10, 91, 93


@dataclass
class Part:
    """Collect the notes of one MIDI channel, played with a human's unevenness."""

    rng: np.random.Generator
    channel: int
    program: int
    pan: int = 64
    sway_beats: float = 0.01
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose the programme, volume, place and effects of the channel."""
        self.events.append((0.0, bytes([0xC0 | self.channel, self.program])))
        settings = {
            VOLUME: int(self.rng.integers(80, 120)),
            PAN: self.pan,
            REVERB: int(self.rng.integers(0, 90)),
            CHORUS: int(self.rng.integers(0, 60)),
        }
        for control, value in settings.items():
            self.events.append((0.0, bytes([0xB0 | self.channel, control, value])))

    def note(self, beat: float, pitch: int, length_beats: float, velocity: float) -> None:
        """Add a note, unless its pitch is one that no instrument plays."""
        if not LOWEST_PITCH <= pitch <= HIGHEST_PITCH:
            return
        loudness = int(np.clip(velocity + self.rng.normal(0, 7), 10, 127))
        start = max(0.0, beat + self.rng.normal(0, self.sway_beats))
        self.events.append((start, bytes([0x90 | self.channel, pitch, loudness])))
        self.events.append((start + max(length_beats, 0.05), bytes([0x80 | self.channel, pitch, 0])))


def midi_file(events: list[Event], tempo_bpm: float) -> bytes:
    """Return a one-track Standard MIDI File of events, whose times are beats."""
    track = b"\x00\xff\x51\x03" + int(60e6 / tempo_bpm).to_bytes(3, "big")
    now_ticks = 0
    for beat, message in sorted(events, key=lambda event: event[0]):
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
    return bytes(reversed(digits))
