"""What plays a part: a sound font, a sampled drum kit or an instrument of our own, drawn for each part of each song."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from ezstems.builtin.recipe.songs import effects, instruments, percussion
from ezstems.builtin.recipe.songs.midi import Part, midi_file
from ezstems.builtin.recipe.songs.song import Song

FLUID = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
MUSESCORE = Path("/usr/share/sounds/sf3/MuseScore_General_Full.sf3")

# How often each source plays a role; the rest falls to instruments of our own.
FONT_SHARES = {"drums": 0.45, "bass": 0.55, "piano": 0.65}
OTHER_FONT_SHARE = 0.65
KIT_SHARE = 0.35


def perform(parts: list[Part], song: Song, rng: np.random.Generator, sound_font: Path | None) -> np.ndarray:
    """Play the parts of a stem; return (samples, 2) float32 as long as the song."""
    audio = np.zeros((int(song.seconds * effects.SAMPLE_RATE_HZ), 2), np.float32)
    for part in parts:
        gain = np.float32(10 ** (rng.normal(0, 2.5) / 20)) if len(parts) > 1 else np.float32(1)
        audio += gain * effects.normalise(_play(part, song, rng, sound_font))
    return audio


def _play(part: Part, song: Song, rng: np.random.Generator, sound_font: Path | None) -> np.ndarray:
    """Play one part on the sound font given, or on a source drawn for it."""
    if not part.notes:
        return np.zeros((int(song.seconds * effects.SAMPLE_RATE_HZ), 2), np.float32)
    if sound_font:
        return _play_font(part, song, rng, sound_font)
    chance = rng.random()
    font_share = FONT_SHARES.get(part.role, OTHER_FONT_SHARE)
    if chance < font_share:
        return _play_font(part, song, rng, FLUID if rng.random() < 0.5 else MUSESCORE)
    if part.role != "drums":
        return instruments.play(part, song)
    kits = percussion.kits()
    if chance < font_share + KIT_SHARE:
        return percussion.play(part, song, percussion.sampled(kits[rng.integers(len(kits))]))
    return percussion.play(part, song, percussion.synthesised(rng))


def _play_font(part: Part, song: Song, rng: np.random.Generator, sound_font: Path) -> np.ndarray:
    """Let fluidsynth play a part; return (samples, 2) float32 as long as the song."""
    room, wet = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
    with tempfile.TemporaryDirectory() as folder:
        score, wav = Path(folder) / "part.mid", Path(folder) / "part.wav"
        score.write_bytes(midi_file(part, song.tempo_bpm))
        command = ["fluidsynth", "-niq", "-F", str(wav), "-r", str(effects.SAMPLE_RATE_HZ), "-g", "0.6"]
        command += ["-o", "synth.dynamic-sample-loading=1"]
        command += ["-o", f"synth.reverb.room-size={room:.2f}", "-o", f"synth.reverb.level={wet:.2f}"]
        subprocess.run([*command, str(sound_font), str(score)], check=True, capture_output=True)
        played, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    audio = np.zeros((int(song.seconds * effects.SAMPLE_RATE_HZ), 2), np.float32)
    audio[: len(played)] = played[: len(audio)]
    return audio
