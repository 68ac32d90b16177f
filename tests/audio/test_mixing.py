"""Mixes of finished stems: read in place, of every format, exact where the stems are."""

from pathlib import Path

import numpy as np
import pytest

from ezstems.audio.encode import Writer
from ezstems.audio.mixing import Mix, Mixing, Source, with_length
from ezstems.audio.outputs import FORMATS
from ezstems.errors import EncodingFailed
from tests.support import audio_files

SAMPLES = 44_100
GAINS = {"vocals": 0.7, "drums": 1.5, "bass": 0.33}


def made(path: Path, output: str, audio: np.ndarray) -> Path:
    with Writer(path, output) as writer:
        writer.write(audio)
        writer.finish()
    return path


def mixed(sources: list[Source], output: str, mix: Mix, wished: str, path: Path) -> np.ndarray:
    mixing = Mixing(sources, output, mix, SAMPLES, wished)
    path.write_bytes(b"".join(mixing))
    mixing.close()
    return audio_files.read(path)


@pytest.mark.parametrize("output", FORMATS)
def test_stems_are_read_where_they_lie_in_another_file(tmp_path: Path, output: str) -> None:
    folder = tmp_path / "a, b: c'd"
    folder.mkdir()
    content, sources, wanted = b"before", [], np.zeros((SAMPLES, 2))
    for number, gain in enumerate(GAINS.values()):
        audio = (3 * audio_files.song(SAMPLES, seed=number)).astype(np.float32)
        stem = made(tmp_path / FORMATS[output].filename(str(number)), output, audio)
        sources.append(Source(folder / "all", len(content), len(content) + stem.stat().st_size))
        content += stem.read_bytes() + b"between"
        wanted += gain * audio_files.read(stem).astype(np.float64)
    (folder / "all").write_bytes(content)
    found = mixed(sources, output, Mix(GAINS), "wav", tmp_path / "mix.wav").astype(np.float64)
    assert found.shape == (SAMPLES, 2)
    if output == "wav32":  # floats are neither rounded nor clipped
        assert np.abs(wanted).max() > 1
        assert np.abs(found - wanted).max() < 1e-6
    else:
        exact = np.clip(np.rint(wanted * 32768), -32768, 32767)
        # What decodes to floats may be decoded a little otherwise by another call.
        assert np.abs(found * 32768 - exact).max() <= (0 if output in ("wav", "flac") else 1)


def test_tempo_and_key_are_those_asked_for(tmp_path: Path) -> None:
    times = np.arange(SAMPLES) / SAMPLES
    tone = np.repeat(0.5 * np.sin(2 * np.pi * 440 * times)[:, None], 2, axis=1).astype(np.float32)
    stem = made(tmp_path / "tone.wav", "wav", tone)
    source = Source(stem, 0, stem.stat().st_size)
    for tempo, semitones in ((0.5, 0), (1.5, 0), (1.0, 6), (1.25, -6)):
        found = mixed([source], "wav", Mix({"tone": 1.0}, tempo, semitones), "wav", tmp_path / "mix.wav")[:, 0]
        assert len(found) == round(SAMPLES / tempo)
        inner = found[4096:-4096]
        spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner))))
        hertz = spectrum.argmax() * SAMPLES / len(inner)
        assert abs(hertz - 440 * 2 ** (semitones / 12)) < 3


def test_a_stem_that_breaks_off_makes_no_mix(tmp_path: Path) -> None:
    stem = made(tmp_path / "song.flac", "flac", audio_files.song(SAMPLES).astype(np.float32))
    content = bytearray(stem.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    stem.write_bytes(content)
    with pytest.raises(EncodingFailed):
        mixed([Source(stem, 0, len(content))], "flac", Mix({"song": 1.0}), "wav", tmp_path / "mix.wav")


def test_a_flac_tells_its_length(tmp_path: Path) -> None:
    stem = made(tmp_path / "song.wav", "wav", audio_files.song(SAMPLES).astype(np.float32))
    mixing = Mixing([Source(stem, 0, stem.stat().st_size)], "wav", Mix({"song": 1.0}), SAMPLES, "flac")
    content = b"".join(mixing)
    assert int.from_bytes(content[21:26], "big") & (1 << 36) - 1 == SAMPLES
    with pytest.raises(EncodingFailed):
        with_length(b"OggS" + bytes(40), SAMPLES)
