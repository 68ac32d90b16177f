"""Speech: espeak-ng, or in validation Festival, says real and made-up words in one of its voices."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from ezstems.builtin.recipe.songs import festival, formants

VOICES = (
    "en-us", "en-gb", "en-gb-scotland", "fr-fr", "de", "es", "it", "pt-br", "sv", "pl", "tr", "id", "sw", "fi", "hu",
    "nl", "ro", "cs", "da", "el", "hr", "ca", "eo", "la",
)  # fmt: skip
VARIANTS = (
    "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt3",
    "Annie", "anika", "Andy", "linda", "steph", "Gene", "Lee", "Mario", "Michael", "Alicia", "antonio", "belinda",
    "edward", "iven", "john", "max", "norbert", "quincy", "rob", "robert", "sandro", "shelby", "travis", "victor",
)  # fmt: skip
LYRICS = (
    "love night time heart away never ever fire rain follow hold me now you and I the morning light again forever "
    "dream alone tonight baby ocean river shining over under golden summer winter moon stars believe running home "
    "gone remember burning slowly dancing memory falling in to my arms say what we are waiting for every single day"
)
ONSETS = [*"bdfghklmnprstvwz", "sh", "ch", "tr", "st", ""]
VOWELS = ["a", "e", "i", "o", "u", "ai", "ee", "oo", "ou"]
CODAS = ["", "", "n", "s", "t", "l", "m"]


def draw_voice(rng: np.random.Generator, voices: tuple[str, ...]) -> str:
    """Draw the name of a voice, mostly with one of espeak-ng's variants of timbre."""
    voice = str(rng.choice(voices))
    if voice == formants.NAME or voice in festival.FESTIVAL_VOICES:
        return voice
    return f"{voice}+{rng.choice(VARIANTS)}" if rng.random() < 0.9 else voice


def speak(words: int, voice: str, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Say a number of words; return (samples,) float64 and the rate in Hz."""
    lyrics = LYRICS.split()
    text = [str(rng.choice(lyrics)) if rng.random() < 0.5 else _made_up_word(rng) for _ in range(words)]
    speed, pitch = int(rng.integers(120, 170)), int(rng.integers(20, 80))
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        if voice in festival.FESTIVAL_VOICES:
            festival.say(" ".join(text), voice, wav)
        else:
            command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(wav), " ".join(text)]
            subprocess.run(command, check=True, capture_output=True)
        speech, rate_hz = soundfile.read(wav)
    # A trace of noise, because WORLD divides by spectra and digital silence has none.
    return np.ascontiguousarray(speech + 1e-5 * rng.normal(size=len(speech))), rate_hz


def _made_up_word(rng: np.random.Generator) -> str:
    """Draw one to three syllables that no dictionary has."""
    syllables = [f"{rng.choice(ONSETS)}{rng.choice(VOWELS)}" for _ in range(int(rng.integers(1, 4)))]
    return "".join(syllables) + str(rng.choice(CODAS))
