"""The figures of the bundled model: what they measure, and on which clips; held against signals with known answers."""

import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from ezstems.builtin.recipe.figures import clips, sdr
from ezstems.builtin.recipe.figures.clips import VARIANTS, Variant
from ezstems.builtin.recipe.figures.listening import band_share, energy_shares
from ezstems.builtin.recipe.figures.separation import read_wav
from ezstems.builtin.recipe.songs.festival import FESTIVAL_VOICES, say

RATE_HZ = 44_100
SECONDS = 4


def noise(seed: int, rms: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, rms, (SECONDS * RATE_HZ, 2)).astype(np.float32)


def tone(hz: float, rms: float = 0.1) -> np.ndarray:
    wave = np.sqrt(2) * rms * np.sin(2 * np.pi * hz * np.arange(SECONDS * RATE_HZ) / RATE_HZ)
    return np.repeat(wave[:, None], 2, axis=1).astype(np.float32)


def test_the_truth_itself_scores_very_high_and_silence_nothing() -> None:
    truth = noise(1)
    assert sdr.distortions_db(truth, truth) == pytest.approx([sdr.HIGHEST_DB] * SECONDS)
    assert sdr.distortions_db(truth, np.zeros_like(truth)) == pytest.approx([0] * SECONDS)
    assert sdr.distortions_db(truth, 0.9 * truth) == pytest.approx([20] * SECONDS, abs=1e-3)


def test_the_mixture_scores_how_much_louder_the_stem_is_than_the_rest() -> None:
    stem, rest = noise(1, rms=0.1), noise(2, rms=0.2)
    assert sdr.distortions_db(stem, stem + rest) == pytest.approx([-20 * np.log10(2)] * SECONDS, abs=0.1)
    assert sdr.distortions_db(rest, stem + rest) == pytest.approx([20 * np.log10(2)] * SECONDS, abs=0.1)


def test_seconds_in_which_the_stem_is_silent_are_skipped_at_any_level() -> None:
    truth, estimate = noise(1), noise(2)
    truth[RATE_HZ : 2 * RATE_HZ] *= 1e-3
    expected = [ratio for second, ratio in enumerate(sdr.distortions_db(noise(1), estimate)) if second != 1]
    assert sdr.distortions_db(truth, estimate) == pytest.approx(expected)
    assert sdr.distortions_db(truth / 100, estimate / 100) == pytest.approx(expected)
    assert sdr.distortions_db(np.zeros_like(truth), estimate) == []


def test_a_mono_reference_stands_for_both_channels() -> None:
    truth, estimate = noise(1), noise(2)
    truth[:, 1] = truth[:, 0]
    assert sdr.distortions_db(truth[:, :1], estimate) == pytest.approx(sdr.distortions_db(truth, estimate))


def test_the_ideal_mask_parts_what_lies_in_different_bands() -> None:
    low, high = tone(200), tone(3000)
    estimates = sdr.ideal_stems([low, high])
    for truth, estimate in zip((low, high), estimates, strict=True):
        assert estimate.shape == truth.shape
        assert min(sdr.distortions_db(truth, estimate)[1:-1]) > 40
    # Four overlapping windows and their compensation give back what was there, up to the network's band.
    (same,) = sdr.ideal_stems([low])
    assert min(sdr.distortions_db(low, same)) > 80
    (none,) = sdr.ideal_stems([tone(15_000)])
    assert np.abs(none[RATE_HZ:-RATE_HZ]).max() < 1e-3


def test_stems_add_up_to_the_mixture_bit_by_bit_with_the_singer_in_front() -> None:
    stems = np.stack([noise(seed, rms=2000)[: RATE_HZ // 10] for seed in range(5)]).astype(np.int16)
    before = stems.copy()
    levels_db = []
    for seed in range(200):
        mixed = clips.mix(stems, 0, np.random.default_rng(seed))
        assert mixed.dtype == np.int16
        assert np.abs(mixed.sum(axis=0)).max() == pytest.approx(clips.PEAK * 32767, abs=len(stems))
        levels_db.append(20 * np.log10(np.sqrt((mixed.astype(float) ** 2).mean(axis=(1, 2)))))
    relative_db = np.array(levels_db) - np.mean([levels[1:].mean() for levels in levels_db])
    assert relative_db[:, 0].mean() == pytest.approx(clips.VOCALS_DB, abs=0.6)
    spread_db = np.std([levels[1] - levels[2] for levels in levels_db])
    assert spread_db == pytest.approx(np.sqrt(2) * clips.SPREAD_DB, rel=0.2)
    assert np.array_equal(stems, before)
    again = clips.mix(stems, 0, np.random.default_rng(199))
    assert np.array_equal(again, mixed)


def test_a_clip_is_full_when_every_stem_sounds_half_of_the_time() -> None:
    stems = np.stack([noise(1), noise(2)])
    stems[1, : 2 * RATE_HZ] = 0
    assert clips.is_full(stems)
    stems[1, : 3 * RATE_HZ] = 0
    assert not clips.is_full(stems)
    assert not clips.is_full(np.zeros_like(stems))


def test_clips_share_no_seed_and_every_voice_sings() -> None:
    seeds = [seed for number in range(clips.CLIPS) for seed in islice(clips.seeds(number), 5)]
    assert len(set(seeds)) == len(seeds) and min(seeds) == clips.FIRST_SEED
    voices = [clips.voice(number) for number in range(clips.CLIPS)]
    assert set(voices) == {*FESTIVAL_VOICES, *clips.ESPEAK_VOICES}
    assert sum(voice in FESTIVAL_VOICES for voice in voices) == clips.CLIPS / 2


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_is_the_same_music(variant: Variant, tmp_path: Path) -> None:
    mixture = np.rint(20_000 * (tone(440) + noise(1, rms=0.01))).astype(np.int16)
    variant.write(mixture, tmp_path / "clip.wav")
    rate_hz, written = wavfile.read(tmp_path / "clip.wav")
    assert (rate_hz, written.dtype) == (variant.rate_hz, np.int16)
    assert len(written) == SECONDS * variant.rate_hz
    assert written.ndim == (1 if variant.mono else 2)
    reference = variant.reference(mixture)
    assert reference.shape == (len(mixture), 1 if variant.mono else 2)
    assert 20 * np.log10(np.std(written) / np.std(mixture)) == pytest.approx(variant.gain_db, abs=0.1)
    if variant.rate_hz == RATE_HZ:
        assert np.abs(written.reshape(reference.shape) - reference).max() <= 0.5


def test_what_was_separated_is_read_as_it_was_written(tmp_path: Path) -> None:
    samples = np.rint(32767 * noise(1)).astype(np.int16)
    wavfile.write(tmp_path / "vocals.wav", RATE_HZ, samples)
    assert np.array_equal(read_wav(tmp_path / "vocals.wav"), samples)


def test_shares_of_stems_and_of_bands() -> None:
    vocals, band = tone(300, rms=0.1), tone(2000, rms=0.2)
    vocals[:RATE_HZ] = 0
    stems = {"vocals": vocals, "accompaniment": band}
    assert energy_shares(stems, (0, 1)) == {"vocals": 0, "accompaniment": 1}
    assert energy_shares(stems, (1.5, 3.5)) == pytest.approx({"vocals": 0.2, "accompaniment": 0.8}, abs=1e-3)
    assert band_share(vocals, (1.5, 3.5), (80, 600)) == pytest.approx(1, abs=1e-3)
    assert band_share(vocals + band, (1.5, 3.5), (80, 600)) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.skipif(not shutil.which("text2wave"), reason="Festival is not installed")
@pytest.mark.parametrize("voice", FESTIVAL_VOICES)
def test_a_festival_voice_says_words_that_no_dictionary_has(voice: str, tmp_path: Path) -> None:
    if not list(Path("/usr/share/festival/voices").glob(f"*/{voice}")):
        pytest.skip(f"the Festival voice {voice} is not installed")
    say("love shaitoo krooms zeevat", voice, tmp_path / "words.wav")
    rate_hz, speech = wavfile.read(tmp_path / "words.wav")
    # Singing brings the rate to 44.1 kHz in steps of 50 Hz.
    assert rate_hz >= 16_000 and rate_hz % 50 == 0 and speech.ndim == 1
    assert 1 < len(speech) / rate_hz < 6
    assert np.abs(speech.astype(float)).max() > 3000


def test_an_unknown_festival_voice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="voice='nobody' must be one of kal_diphone"):
        say("love", "nobody", tmp_path / "words.wav")
