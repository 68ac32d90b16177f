"""Tempo, beats and key: those of songs that were made with them, and none where there are none."""

import json
import time
from pathlib import Path
from shutil import copy2

import numpy as np
import pytest

from ezstems.audio import music
from ezstems.audio.key import NAMES
from ezstems.audio.music import UNHEARD, Listener
from ezstems.audio.onsets import FRAMES_PER_SECOND
from ezstems.audio.peaks import Peaks
from ezstems.audio.separate import Separator
from ezstems.audio.tempo import tempo_of
from tests.support.audio_files import RATE_HZ, read, write_wav
from tests.support.made_songs import FIRST_BEAT_SECONDS, PATTERNS, babble, beats_of, listen, made_song

TEMPOS_BPM = (60.0, 71.3, 84.0, 97.7, 110.0, 123.4, 137.0, 150.0, 165.5, 180.0)
SECONDS = 15.0
DEMO = Path(music.__file__).parents[1] / "static" / "demo"


def relative(tonic: int, mode: str) -> str:
    """Name the key of the same notes."""
    return f"{NAMES[(tonic + 9) % 12]} minor" if mode == "major" else f"{NAMES[(tonic + 3) % 12]} major"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_made_songs(pattern: str) -> None:
    random = np.random.default_rng(list(PATTERNS).index(pattern))
    octaves = []
    for number, bpm in list(enumerate(TEMPOS_BPM))[list(PATTERNS).index(pattern) % 2 :: 2]:
        tonic, mode = (5 * number + list(PATTERNS).index(pattern)) % 12, ("major", "minor")[number // 2 % 2]
        beats = beats_of(bpm, SECONDS)
        found = listen(made_song(pattern, beats, SECONDS, tonic, mode, random.uniform(-0.4, 0.4)))
        assert found.key is not None and found.tempo is not None, bpm
        assert found.key.name in (f"{NAMES[tonic]} {mode}", relative(tonic, mode)), bpm
        ratio = found.tempo.bpm / bpm
        octaves += [octave for octave in (0.5, 1.0, 2.0) if abs(ratio / octave - 1) < 0.005]
        if octaves and abs(ratio / octaves[-1] - 1) < 0.005:
            # Where the beats are, in the song's own: whole ones, or halves.
            places = np.interp(found.tempo.beats, beats, np.arange(len(beats)))[1:-1] * max(1.0, octaves[-1])
            off_seconds = (places - np.rint(places)) * 60 / bpm / max(1.0, octaves[-1])
            assert np.abs(off_seconds).max() < 0.02, bpm
    assert len(octaves) >= 4, octaves  # of five; a fast arpeggio may be taken for triplets


def test_the_key_itself() -> None:
    beats = beats_of(100.0, SECONDS)
    for tonic in (2, 7):
        for mode in ("major", "minor"):
            found = listen(made_song("rock", beats, SECONDS, tonic, mode))
            assert found.key is not None and found.key.name == f"{NAMES[tonic]} {mode}"


def test_beats_of_five_minutes_don_t_drift() -> None:
    bpm, seconds = 121.3, 300.0
    found = listen(made_song("rock", beats_of(bpm, seconds), seconds, 0, "major")).tempo
    assert found is not None
    assert abs(found.bpm / bpm - 1) < 1e-4
    beats = np.array(found.beats)
    true = FIRST_BEAT_SECONDS + np.rint((beats - FIRST_BEAT_SECONDS) * bpm / 60) * 60 / bpm
    assert np.abs(beats - true).max() < 0.01
    assert len(beats) == pytest.approx(seconds * bpm / 60, abs=1)


def test_beats_follow_a_band_that_sways() -> None:
    beats = beats_of(100.0, 60.0, sway=0.03)
    found = listen(made_song("rock", beats, 60.0, 0, "minor")).tempo
    assert found is not None and abs(found.bpm / 100 - 1) < 0.03
    nearest = np.abs(np.array(found.beats)[1:-1, None] - beats).min(axis=1)
    assert np.median(nearest) < 0.015 and nearest.max() < 0.06


@pytest.mark.parametrize("silent_seconds", [0.0, 2.17, 5.0])
def test_the_first_beat_is_the_first_that_sounds(silent_seconds: float) -> None:
    audio = made_song("rock", beats_of(104.0, SECONDS), SECONDS, 2, "major")
    lead = np.random.default_rng(2).normal(0, 1e-4, (round(silent_seconds * RATE_HZ), 2)).astype(np.float32)
    found = listen(np.concatenate([lead, audio])).tempo
    assert found is not None and found.beats[0] == pytest.approx(silent_seconds + FIRST_BEAT_SECONDS, abs=0.02)


def test_the_demo(tmp_path: Path) -> None:
    stems = [read(Path(copy2(path, tmp_path))) for path in sorted(DEMO.glob("*.mp3"))]
    found = listen(np.sum([stem[: min(map(len, stems))] for stem in stems], axis=0, dtype=np.float32))
    assert found.tempo is not None and abs(found.tempo.bpm / 96 - 1) < 0.005
    assert found.key is not None and found.key.name in ("A minor", "C major")
    written = json.loads((DEMO / "peaks.json").read_text())
    assert abs(written["tempo"]["bpm"] / 96 - 1) < 0.005 and written["key"]["name"] == found.key.name


@pytest.mark.parametrize("seconds", [8.0, 40.0])
def test_where_nothing_is_there_nothing_is_found(seconds: float) -> None:
    samples = round(seconds * RATE_HZ)
    noise = np.random.default_rng(1).normal(0, 0.1, (samples, 2)).astype(np.float32)
    assert listen(np.zeros((samples, 2), np.float32)) == UNHEARD
    assert listen(noise) == UNHEARD
    assert listen(babble(seconds)) == UNHEARD


def test_a_quiet_song_and_one_with_numbers_that_are_none() -> None:
    audio = made_song("rock", beats_of(110.0, SECONDS), SECONDS, 2, "major")
    plain = listen(audio)
    assert plain.tempo is not None
    quiet = listen(audio * np.float32(0.003))  # -50 dB
    assert quiet.tempo is not None and abs(quiet.tempo.bpm / plain.tempo.bpm - 1) < 0.002 and quiet.key is not None
    for strange in (np.nan, np.inf):
        broken = audio.copy()
        broken[1000:3000] = strange
        with np.errstate(invalid="ignore"):
            found = listen(broken)
        assert found.tempo is not None and abs(found.tempo.bpm / plain.tempo.bpm - 1) < 0.002


@pytest.mark.parametrize("samples", [0, 1, 5000, 3 * RATE_HZ])
def test_what_is_too_short_has_no_tempo(samples: int) -> None:
    assert listen(made_song("rock", beats_of(110.0, SECONDS), SECONDS, 2, "major")[:samples]).tempo is None


@pytest.mark.parametrize(("period", "silent_seconds"), [(43, 0), (43, 180), (22, 0), (64, 60)])
def test_beats_that_are_all_alike(period: int, silent_seconds: int) -> None:
    envelope = np.zeros(round(60 * FRAMES_PER_SECOND), np.float32)
    envelope[20::period] = 1.0
    found = tempo_of(np.concatenate([envelope, np.zeros(round(silent_seconds * FRAMES_PER_SECOND), np.float32)]))
    assert found is not None
    ratio = found.bpm * period / (60 * FRAMES_PER_SECOND)
    assert min(abs(ratio - octave) for octave in (0.5, 1, 2)) < 1e-3 and np.ptp(np.diff(found.beats)) < 1e-6


def test_what_fails_costs_no_song(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(music, "tempo_of", lambda envelope: 1 / 0)
    assert Listener().music() == UNHEARD
    assert "tempo and key could not be estimated" in caplog.text


def test_three_hours_take_little() -> None:
    frames = round(3 * 3600 * FRAMES_PER_SECOND)
    envelope = np.zeros(frames, np.float32)
    envelope[np.rint(np.arange(0, frames, FRAMES_PER_SECOND / 2)).astype(int)[:-1]] = 1.0
    began = time.thread_time()
    found = tempo_of(envelope)
    assert time.thread_time() - began < 5.0  # of some minutes that it takes to separate them
    assert found is not None and abs(found.bpm / 120 - 1) < 1e-4


def test_a_separation_says_what_it_heard(models: Path, tmp_path: Path) -> None:
    beats = beats_of(104.0, 26.0)
    audio = made_song("rock", beats, 26.0, 9, "minor")
    source = write_wav(tmp_path / "song.wav", audio)
    separation = Separator(models, "official")(source, tmp_path, stems=2)
    assert separation.peaks.music.tempo is not None
    assert abs(separation.peaks.music.tempo.bpm / 104 - 1) < 0.005
    assert separation.peaks.music == listen(audio)  # however many tiles were in flight
    written = json.loads(separation.peaks.json())
    assert written["key"] == {"name": "A minor", "confidence": round(separation.peaks.music.key.confidence, 2)}
    assert written["tempo"]["bpm"] == round(separation.peaks.music.tempo.bpm, 2)
    assert written["tempo"]["beats"] == [round(beat, 3) for beat in separation.peaks.music.tempo.beats]
    assert list(written["tempo"]) == ["bpm", "beats", "confidence"]
    unknown = json.loads(Peaks(1, 1, {}).json())
    assert unknown["tempo"] is None and unknown["key"] is None
