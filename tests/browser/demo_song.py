"""Make the first page's demo, a song of ten seconds whose stems are known: `python -m tests.browser.demo_song`."""

import subprocess
from collections.abc import Callable

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from ezstems.audio import ffmpeg
from ezstems.audio.peaks import Meter, Peaks
from ezstems.jobs import STEMS
from tests.support.made_songs import listen
from tests.support.servers import ROOT

FOLDER = ROOT / "ezstems" / "static" / "demo"
RATE_HZ = 44_100
BEAT_SECONDS, BARS = 0.625, 4
SAMPLES = round(4 * BARS * BEAT_SECONDS * RATE_HZ)
# A minor, F, C, G: the bass's note, then the chord's, as MIDI numbers them.
CHORDS = ((45, 57, 60, 64), (41, 57, 60, 65), (48, 55, 60, 64), (43, 55, 59, 62))
# Beat, beats, note.
MELODY = (
    *((0, 1, 72), (1, 0.5, 71), (1.5, 1.5, 69), (3, 1, 64), (4, 1.5, 65), (5.5, 0.5, 67), (6, 1.75, 69)),
    *((8, 1, 67), (9, 0.5, 69), (9.5, 1.5, 72), (11, 1, 76), (12, 1.5, 74), (13.5, 0.5, 72), (14, 1.75, 71)),
)
VOWELS_HZ = ((750.0, 1200.0, 2600.0), (450.0, 850.0, 2500.0), (400.0, 1900.0, 2600.0))
BITRATE = "96k"


def main() -> None:
    """Write the stems and the peaks that the mixer draws."""
    stems = {name: np.rint(32767 * audio).astype("<i2") for name, audio in song().items()}
    meters = {name: Meter() for name in stems}
    for name, pcm in stems.items():
        meters[name].add(pcm)
        raw = ("-f", "s16le", "-ar", str(RATE_HZ), "-ac", "2", "-i", "-")
        encode = ("-c:a", "libmp3lame", "-b:a", BITRATE, "-map_metadata", "-1", str(FOLDER / f"{name}.mp3"))
        subprocess.run([ffmpeg.executable(), "-v", "error", "-y", *raw, *encode], input=pcm.tobytes(), check=True)
    (FOLDER / "peaks.json").write_text(Peaks.of(meters, listen(sum(song().values()).astype(np.float32))).json())


def song() -> dict[str, np.ndarray]:
    """Make the stems: float (samples, 2) each, which add up to less than full scale."""
    made = {"vocals": _vocals(), "drums": _drums(), "bass": _bass(), "piano": _piano(), "other": _other()}
    loudest = np.abs(sum(made.values())).max()
    return {name: 0.9 / loudest * made[name] for name in STEMS[5]}


def _hz(note: float) -> float:
    return 440.0 * 2 ** ((note - 69) / 12)


def _placed(
    events: list[tuple[float, float, float, float]], sound: Callable[[float, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Add up sounds: (beat, seconds, argument, place from left 0 to right 1); the end rings on at the start."""
    audio = np.zeros((SAMPLES, 2))
    for beat, seconds, argument, place in events:
        mono = sound(argument, np.arange(round(seconds * RATE_HZ)) / RATE_HZ)
        where = (round(beat * BEAT_SECONDS * RATE_HZ) + np.arange(len(mono))) % SAMPLES
        np.add.at(audio, where, mono[:, None] * (np.sqrt(1 - place), np.sqrt(place)))
    return audio


def _drums() -> np.ndarray:
    random = np.random.default_rng(1)

    def kick(_: float, t: np.ndarray) -> np.ndarray:
        return 0.9 * np.sin(2 * np.pi * (48 * t + 3.2 * (1 - np.exp(-28 * t)))) * np.exp(-9 * t)

    def snare(_: float, t: np.ndarray) -> np.ndarray:
        noise = sosfilt(butter(2, (900, 9000), "band", fs=RATE_HZ, output="sos"), random.normal(size=len(t)))
        return 0.3 * noise * np.exp(-17 * t) + 0.35 * np.sin(2 * np.pi * 190 * t) * np.exp(-28 * t)

    def hat(decay: float, t: np.ndarray) -> np.ndarray:
        noise = sosfilt(butter(4, 7500, "high", fs=RATE_HZ, output="sos"), random.normal(size=len(t)))
        return 0.13 * noise * np.exp(-decay * t)

    bars = range(0, 4 * BARS, 4)
    kicks = [(bar + beat, 0.4, 0.0, 0.5) for bar in bars for beat in (0, 1.5, 2.5)]
    snares = [(bar + beat, 0.3, 0.0, 0.45) for bar in bars for beat in (1, 3)] + [(15.5, 0.3, 0.0, 0.55)]
    hats = [(half / 2, 0.25, 18.0 if half % 8 == 7 else 55.0, 0.65) for half in range(8 * BARS)]
    return _placed(kicks, kick) + _placed(snares, snare) + _placed(hats, hat)


def _bass() -> np.ndarray:
    def pluck(note: float, t: np.ndarray) -> np.ndarray:
        tone = sum(np.sin(2 * np.pi * _hz(note) * k * t) * np.exp(-(1.5 + 1.3 * k) * t) / k for k in range(1, 9))
        return 0.42 * tone * np.minimum(1, 200 * t) * np.minimum(1, 60 * (t[-1] - t))

    pattern = ((0, 1.4, 0), (1.5, 0.9, 0), (2.5, 0.5, 12), (3, 0.5, 7), (3.5, 0.5, 0))
    return _placed(
        [
            (4 * bar + beat, beats * BEAT_SECONDS, chord[0] - 12 + up, 0.5)
            for bar, chord in enumerate(CHORDS)
            for beat, beats, up in pattern
        ],
        pluck,
    )


def _piano() -> np.ndarray:
    def key(note: float, t: np.ndarray) -> np.ndarray:
        hz = _hz(note)
        # Strings are a little stiff: their overtones are sharp.
        tones = ((k, hz * k * np.sqrt(1 + 0.0004 * k * k)) for k in range(1, 11))
        tone = sum(np.sin(2 * np.pi * each_hz * t) * np.exp(-(1.2 + 0.7 * k) * t) / k**1.3 for k, each_hz in tones)
        return 0.2 * tone * np.minimum(1, 400 * t)

    return _placed(
        [
            (4 * bar + beat, 1.4, note, place)
            for bar, chord in enumerate(CHORDS)
            for beat in (0, 1.5, 3)
            for note, place in zip(chord[1:], (0.25, 0.4, 0.6), strict=True)
        ],
        key,
    )


def _other() -> np.ndarray:
    def pad(note: float, t: np.ndarray) -> np.ndarray:
        tone = sum((_hz(note + cents / 100) * t % 1) - 0.5 for cents in (-7, 0, 8))
        swell = np.minimum(1, 2.5 * t) * np.minimum(1, 2.5 * (t[-1] - t))
        return 0.18 * sosfilt(butter(2, 1400, fs=RATE_HZ, output="sos"), tone) * swell

    def bell(note: float, t: np.ndarray) -> np.ndarray:
        wobble = np.sin(2 * np.pi * 3 * _hz(note) * t) * np.exp(-9 * t)
        return 0.12 * np.sin(2 * np.pi * _hz(note) * t + 1.5 * wobble) * np.exp(-5 * t)

    bars = list(enumerate(CHORDS))
    pads = [
        (4 * bar, 4.6 * BEAT_SECONDS, note, place)
        for bar, chord in bars
        for note, place in zip(chord[1:], (0.2, 0.8, 0.5), strict=True)
    ]
    bells = [
        (4 * bar + step / 2, 0.9, chord[1 + step % 3] + 12 + 12 * (step // 3 % 2), 0.2 + 0.6 * (step % 2))
        for bar, chord in bars
        for step in range(8)
    ]
    return _placed(pads, pad) + _placed(bells, bell)


def _vocals() -> np.ndarray:
    random = np.random.default_rng(2)
    smooth = np.hanning(RATE_HZ // 20)
    note, loud = np.full(SAMPLES, float(MELODY[0][2])), np.zeros(SAMPLES)
    formants_hz = np.tile(VOWELS_HZ[0], (SAMPLES, 1))
    for number, (beat, beats, pitch) in enumerate(MELODY):
        start, end = (round(each * BEAT_SECONDS * RATE_HZ) for each in (beat, beat + beats))
        note[start:], loud[start : end - RATE_HZ // 25] = pitch, 1
        formants_hz[start:] = VOWELS_HZ[number % len(VOWELS_HZ)]
    t = np.arange(SAMPLES) / RATE_HZ
    smoothed = [
        fftconvolve(np.pad(each, RATE_HZ, "edge"), smooth / smooth.sum(), "same")[RATE_HZ:-RATE_HZ]
        for each in (note, loud, *formants_hz.T)
    ]
    note, loud, *formants = smoothed
    hz = _hz(note + 0.25 * np.sin(2 * np.pi * 5.3 * t))  # type: ignore[arg-type]
    phase, tone = 2 * np.pi * np.cumsum(hz) / RATE_HZ, np.zeros(SAMPLES)
    for harmonic in range(1, 24):
        gain = sum(
            1 / (1 + ((harmonic * hz - formant_hz) / width_hz) ** 2)
            for formant_hz, width_hz in zip(formants, (110, 130, 190), strict=True)
        )
        tone += (gain + 0.02) / harmonic**0.6 * np.sin(harmonic * phase)
    breath = sosfilt(butter(2, (2500, 9000), "band", fs=RATE_HZ, output="sos"), random.normal(size=SAMPLES))
    dry = loud * (0.2 * tone / tone.std() + 0.012 * breath)
    room = random.normal(size=(RATE_HZ // 2, 2)) * np.exp(-9 * np.arange(RATE_HZ // 2) / RATE_HZ)[:, None]
    room /= np.sqrt((room**2).sum(axis=0))
    wet = np.stack([fftconvolve(dry, room[:, channel])[:SAMPLES] for channel in (0, 1)], axis=1)
    return 0.75 * dry[:, None] + 0.18 * wet


if __name__ == "__main__":
    main()
