"""The engine from file to files: lengths, sums, progress, interruption, flat memory."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from ezstems.audio import outputs, stft
from ezstems.audio.outputs import FORMATS, OUTPUTS
from ezstems.audio.separate import CUTOFFS, STEMS, Separator
from ezstems.errors import BadInput, EncodingFailed, Interrupted, ModelMissing, UnreadableAudio
from ezstems.network import cpu
from ezstems.network.engine import Masks
from ezstems.network.openvino_engine import OpenvinoEngine
from tests.support.audio_files import convert, read, song, write_wav

SAMPLES = 2 * stft.TILE_SAMPLES + 12_345
RESOLUTION = 1 / 32768  # of a 16-bit file


@pytest.fixture(scope="module")
def separator(models: Path) -> Separator:
    return Separator(models, "official")


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("song") / "song.wav", song(SAMPLES))


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Hold after every test that the engine's threads and children have ended, however the call did."""
    threads, children = names(), children_of_this_process()
    yield
    deadline = monotonic() + 60  # a thread is still listed for a moment after it was joined by others
    while not (names() - threads <= {"MainThread"} and children_of_this_process() <= children):
        assert monotonic() < deadline, (names() - threads, children_of_this_process() - children)
        sleep(0.01)


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def children_of_this_process() -> set[str]:
    children = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended between the two looks
            for child in (task / "children").read_text().split():
                if "ffmpeg" in Path(f"/proc/{child}/comm").read_text():
                    children.add(child)
    return children


@pytest.mark.parametrize("stems", STEMS)
def test_stems_of_the_full_band_add_up_to_the_mix(stems: int, separator: Separator, wav: Path, tmp_path: Path) -> None:
    result = separator(wav, tmp_path, stems=stems, cutoff="full")
    assert result.files == tuple(tmp_path / f"{name}.wav" for name in STEMS[stems])
    assert result.model == f"official {stems}stems" and result.samples == SAMPLES
    stem_audio = [read(file) for file in result.files]
    assert np.abs(sum(stem_audio) - song(SAMPLES)).max() < (stems + 1) * RESOLUTION
    assert all(0.001 < audio.std() < 0.9 * song(SAMPLES).std() for audio in stem_audio)


@pytest.mark.parametrize("stems", STEMS)
@pytest.mark.parametrize("loudest", [2, 16])
def test_float_stems_add_up_to_float_accuracy_however_loud_the_mix(
    loudest: int, stems: int, separator: Separator, tmp_path: Path
) -> None:
    audio = song(SAMPLES)
    audio *= loudest / np.abs(audio).max()  # 6 and 24 dB over full scale
    source = write_wav(tmp_path / "loud.wav", audio)
    files = separator(source, tmp_path, stems=stems, cutoff="full", output="wav32").files
    assert [file.name for file in files] == [f"{name}.wav" for name in STEMS[stems]]
    stem_audio = [read(file) for file in files]
    assert np.abs(sum(stem_audio) - audio).max() < 2e-6 * loudest
    assert np.abs(stem_audio).max() > loudest / 8


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_format_is_as_long_as_the_input(output: str, separator: Separator, wav: Path, tmp_path: Path) -> None:
    source = convert(wav, "excerpt.mp3", "-t", "3.21")
    result = separator(source, tmp_path, stems=2, output=output)
    assert [file.name for file in result.files] == [FORMATS[output].filename(name) for name in STEMS[2]]
    assert result.samples == len(read(source))
    assert [len(read(file)) for file in result.files] == [result.samples] * 2


@pytest.mark.parametrize("samples", [1, 1000, 4097])
def test_shorter_than_a_frame(samples: int, separator: Separator, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "short.WAV", song(samples))
    for cutoff in CUTOFFS:
        result = separator(source, tmp_path, stems=4, cutoff=cutoff)
        assert [len(read(file)) for file in result.files] == [samples] * 4


def test_too_loud_stems_are_clipped_and_counted_but_for_floats(separator: Separator, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "loud.wav", 30 * song(100_000))
    folders = [tmp_path / name for name in ("floats", "wav", "flac")]
    for folder in folders:
        folder.mkdir()
    whole, *clipped = (
        separator(source, folder, stems=2, output=output)
        for folder, output in zip(folders, ("wav32", "wav", "flac"), strict=True)
    )
    floats = [read(file) for file in whole.files]
    counts = [int((np.abs(np.rint(stem * 32768)) > 32768).sum()) for stem in floats]
    lost = dict(zip(STEMS[2], counts, strict=True))
    assert json.loads(json.dumps(clipped[0].clipped)) == lost, "plain numbers"
    assert whole.clipped == {} and min(lost.values()) > 100
    for result in clipped:
        assert result.clipped == lost
        for file, stem in zip(result.files, floats, strict=True):
            assert np.abs(read(file) - np.clip(stem, -1, 32767 / 32768)).max() <= RESOLUTION / 2
        assert result.peaks == whole.peaks, "floats' peaks end at full scale"
    assert separator(write_wav(source, 0.1 * song(100_000)), tmp_path, stems=2).clipped == {}


def test_progress_only_rises_and_ends_at_100(separator: Separator, wav: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    separator(wav, tmp_path, stems=2, progress=seen.append)
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 100
    assert all(percent <= 99 for percent in seen[:-1])
    assert next(filter(None, seen)) == pytest.approx(100 * (stft.TILE_SAMPLES - 4096) / SAMPLES, abs=1)


def test_progress_of_a_file_cut_off_never_exceeds_its_share(separator: Separator, wav: Path, tmp_path: Path) -> None:
    whole = convert(wav, "whole.mp3")
    source = tmp_path / "half.mp3"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    seen: list[float] = []
    result = separator(source, tmp_path, stems=2, progress=seen.append)
    assert 0.4 * SAMPLES < result.samples < 0.6 * SAMPLES
    assert seen[-1] == 100 and max(seen[:-1]) < 60


@pytest.mark.parametrize("output", ["wav", "mp3"])
@pytest.mark.parametrize("polls", [1, 2])
def test_interrupted(polls: int, output: str, separator: Separator, wav: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    def stopping() -> bool:
        asked.append(1)
        return len(asked) >= polls

    with pytest.raises(Interrupted):
        separator(wav, tmp_path, stems=2, output=output, stopping=stopping)
    assert len(asked) == polls


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_what_computes_steps_back_and_the_thread_that_asked_does_not(models: Path, wav: Path, tmp_path: Path) -> None:
    mine, seen = niceness(0), dict[int, int]()

    def look(_percent: float) -> None:
        tiles = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("tile")]
        for task in (*filter(None, tiles), *map(int, children_of_this_process())):
            with suppress(ProcessLookupError):  # it ended between the two looks
                seen[task] = niceness(task)  # at last: when it was first seen, it may just have begun

    separator = Separator(models, "official", engine="openvino")
    before = tasks()
    separator.warm()
    engine = tasks() - before  # and of what loaded it; that has ended by the end
    separator(wav, tmp_path, stems=2, output="mp3", progress=look)
    assert len(seen) >= 1 + 2, "a thread with tiles, two encoders"
    engine &= tasks()
    assert engine
    assert {*seen.values(), *map(niceness, engine)} == {max(cpu.NICENESS, mine)}
    assert niceness(0) == mine


def tasks() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def niceness(task: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, task)


def test_failing_encoder(separator: Separator, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(FORMATS["ogg"], encoder=("-c:a", "nonsense", "-f", "ogg"))
    monkeypatch.setitem(outputs.FORMATS, "ogg", broken)
    with pytest.raises(EncodingFailed):
        separator(wav, tmp_path, stems=2, output="ogg")


def test_failing_network(models: Path, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def masks(magnitudes: np.ndarray) -> dict[str, np.ndarray]:
        raise MemoryError

    def runner(self: OpenvinoEngine) -> Masks:
        return masks

    separator = Separator(models, "official", engine="openvino")
    with monkeypatch.context() as broken:
        broken.setattr(OpenvinoEngine, "runner", runner)
        with pytest.raises(MemoryError):
            separator(wav, tmp_path, stems=2, output="flac")
    assert separator(wav, tmp_path, stems=2, output="flac").samples == SAMPLES


def test_longest_duration(models: Path, wav: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio, match="longer than 20 seconds"):
        Separator(models, "official", max_duration_seconds=20)(wav, tmp_path, stems=2)
    exact = Separator(models, "official", max_duration_seconds=SAMPLES / 44_100)
    assert exact(wav, tmp_path, stems=2).samples == SAMPLES


def test_what_is_warmed_is_what_the_default_cutoff_uses(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    for cutoff, band in (("full", "11kHz"), ("11kHz", "11kHz"), ("16kHz", "16kHz")):
        with caplog.at_level("INFO"):
            Separator(models, "official", engine="openvino", cutoff=cutoff).warm()
        assert f"loaded official 2stems for {band} in" in caplog.text
        caplog.clear()


def test_the_default_cutoff(models: Path, wav: Path, tmp_path: Path) -> None:
    def made(default: str, *cutoff: str) -> bytes:
        separator = Separator(models, "official", cutoff=default)
        options = {"cutoff": cutoff[0]} if cutoff else {}
        return separator(wav, tmp_path, stems=2, **options).files[0].read_bytes()

    full, narrow = made("full"), made("11kHz")
    assert full != narrow
    assert (made("11kHz", "full"), made("full", "11kHz")) == (full, narrow)


def test_bad_input(separator: Separator, tmp_path: Path) -> None:
    empty = write_wav(tmp_path / "empty.wav", np.zeros((0, 2), np.float32))
    with pytest.raises(UnreadableAudio):
        separator(empty, tmp_path, stems=2)
    for wrong in ({"stems": 3}, {"stems": 2, "cutoff": "12kHz"}, {"stems": 2, "output": "wma"}):
        with pytest.raises(BadInput, match="must be one of"):
            separator(empty, tmp_path, **wrong)


def test_label_and_missing_models(separator: Separator, wav: Path, tmp_path: Path) -> None:
    assert separator.label() == "official 2stems, official 4stems, official 5stems"
    nothing = Separator(tmp_path, "official")
    for call in (nothing.label, nothing.warm, lambda: nothing(wav, tmp_path, stems=2)):
        with pytest.raises(ModelMissing):
            call()


def test_what_is_named_stays_in_use_when_better_weights_arrive(
    models: Path, wav: Path, tmp_path: Path
) -> None:
    folder, results = tmp_path / "models", tmp_path / "results"
    results.mkdir()
    separator = Separator(folder)
    before = separator.label()
    assert before == "builtin 2stems, builtin 4stems, builtin 5stems"
    shutil.copytree(models, folder, dirs_exist_ok=True)
    assert separator.label() == before
    assert separator(wav, results, stems=2).model == "builtin 2stems"
    assert Separator(folder).label() == "official 2stems, official 4stems, official 5stems"


def test_memory_does_not_grow_with_the_length(models: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "bench_separate.py"
    peaks_mb = []
    for minutes in (2, 8):
        row = ["--one", str(minutes), "2", "wav", "11kHz", str(models), str(tmp_path)]
        done = subprocess.run([sys.executable, str(script), *row], capture_output=True, text=True, check=True)
        peaks_mb.append(float(done.stdout.split()[-1]))
    assert peaks_mb[1] < 1.1 * peaks_mb[0]
