"""A process of its own for a job that may crash: what it tells arrives, how it ends is told apart, nothing is left."""

import errno
import filecmp
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezstems.audio.separate import Separation, Separator
from ezstems.errors import EncodingFailed, Interrupted, SeparatorCrashed, UnreadableAudio
from ezstems.jobs import suspect
from ezstems.jobs.outcome import NO_ROOM, reason_of
from ezstems.jobs.suspect import IsolatedSeparator
from tests.support.audio_files import song as chord
from tests.support.audio_files import write_wav
from tests.support.separators import LABEL, FastSeparator

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {"stems": 2, "cutoff": "11kHz", "output": "wav"}
log = logging.getLogger(__name__)


class Acting(FastSeparator):
    """Do something, then separate."""

    def __init__(self, act: Callable[..., object], *arguments: object) -> None:
        super().__init__()
        self.act = act
        self.arguments = arguments

    def __call__(self, *arguments: Any, **options: Any) -> Separation:
        self.act(*self.arguments)
        return super().__call__(*arguments, **options)


def stand_still(file: Path) -> None:
    """Tell the own process's id, and how the kernel sees it, then wait for ever."""
    file.with_suffix(".part").write_text(f"{os.getpid()} {Path('/proc/self/oom_score_adj').read_text()}")
    file.with_suffix(".part").rename(file)
    threading.Event().wait()


def speak() -> None:
    print("said on standard output", flush=True)
    os.write(2, b"said by a library\nin two lines\x1b[31m\nand half a li")
    log.info("logged by its own %s", "process")


def raise_in_other_words() -> None:
    try:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/path")
    except OSError as error:
        raise EncodingFailed("The stem 'vocals' could not be written.") from error


def fail(error: BaseException) -> None:
    raise error


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "song.wav", chord(50_000))


@pytest.fixture
def separate(tmp_path: Path, source: Path) -> Callable[..., Separation]:
    def separate(separator: object, folder: str = "made", stopping: Callable[[], bool] = lambda: False) -> Separation:
        directory = tmp_path / folder
        directory.mkdir(exist_ok=True)
        progress: list[float] = []
        made = IsolatedSeparator(separator)(  # type: ignore[arg-type]
            source, directory, job_id="1700000000_2", progress=progress.append, stopping=stopping, **OPTIONS
        )
        assert progress[0] == (0.0 if isinstance(separator, Separator) else 42.0)
        return made

    return separate


def test_it_makes_what_the_worker_would(separate: Callable[..., Separation], source: Path, tmp_path: Path) -> None:
    separator = Separator(tmp_path, "builtin", engine="openvino", max_duration_seconds=60)
    made = separate(separator)
    (tmp_path / "here").mkdir()
    here = separator(source, tmp_path / "here", **OPTIONS)
    assert (made.samples, made.model, made.peaks) == (here.samples, here.model, here.peaks)
    assert [file.name for file in made.files] == [file.name for file in here.files]
    for one, other in zip(made.files, here.files, strict=True):
        assert filecmp.cmp(one, other, shallow=False)


@pytest.mark.parametrize(
    "error",
    [UnreadableAudio("The file is longer than 5 seconds."), OSError(errno.EIO, "Input/output error"), Interrupted("x")],
)
def test_an_error_is_raised_as_it_was(separate: Callable[..., Separation], error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        separate(Acting(fail, error))
    assert raised.value.args == error.args
    assert "in fail\n" in str(raised.value.__cause__), "where it was raised"


def test_a_full_disk_is_told_apart_as_in_the_worker(separate: Callable[..., Separation]) -> None:
    with pytest.raises(EncodingFailed) as raised:
        separate(Acting(raise_in_other_words))
    assert reason_of(raised.value) == NO_ROOM


@pytest.mark.parametrize("error", [ValueError("odd"), MemoryError(), SystemExit(3)])
def test_whatever_else_is_raised_is_no_crash(separate: Callable[..., Separation], error: BaseException) -> None:
    with pytest.raises(RuntimeError, match=type(error).__name__) as raised:
        separate(Acting(fail, error))
    assert "in fail\n" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("act", "argument"), [(os._exit, 0), (os._exit, 7), (os.abort, None), (signal.raise_signal, signal.SIGSEGV)]
)
def test_a_process_that_ends_by_itself_crashed(
    separate: Callable[..., Separation],
    act: Callable[..., object],
    argument: int | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(suspect, "BLAME_AFTER_SECONDS", 0.0)
    with pytest.raises(SeparatorCrashed, match="crashed the separator"):
        separate(Acting(act, *([] if argument is None else [argument])))
    assert "job 1700000000_2: its own process ended with" in caplog.text


@pytest.mark.parametrize("number", sorted(suspect.NOT_FOR_US))
def test_what_stops_a_server_does_not_end_it(separate: Callable[..., Separation], number: signal.Signals) -> None:
    assert separate(Acting(signal.raise_signal, number)).model == LABEL


def test_a_death_just_before_a_stop_is_not_blamed(
    separate: Callable[..., Separation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspect, "BLAME_AFTER_SECONDS", 30.0)
    died = threading.Event()
    death = suspect.SeparatorProcess._error_of_death

    def spying(child: suspect.SeparatorProcess, stopping: Callable[[], bool]) -> Exception:
        died.set()
        return death(child, stopping)

    monkeypatch.setattr(suspect.SeparatorProcess, "_error_of_death", spying)
    with pytest.raises(Interrupted):
        separate(Acting(os.abort), stopping=died.is_set)


def test_a_stop_ends_it_at_once_and_memory_takes_it_first(separate: Callable[..., Separation], tmp_path: Path) -> None:
    file = tmp_path / "told"
    with pytest.raises(Interrupted):
        separate(Acting(stand_still, file), stopping=file.exists)
    pid, score = file.read_text().split()
    assert score == "1000"
    assert not Path(f"/proc/{pid}").exists()


def test_it_dies_with_its_parent(tmp_path: Path, source: Path) -> None:
    file = tmp_path / "told"
    code = (
        "import sys; from pathlib import Path; from tests.jobs.test_suspects import *; file = Path(sys.argv[1]);"
        "IsolatedSeparator(Acting(stand_still, file))(Path(sys.argv[2]), file.parent, job_id='1_2', progress=print,"
        " stopping=lambda: False, **OPTIONS)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(file), str(source)], cwd=suspect.SEARCH_FOLDER) as parent:
        until(file.exists)
        parent.kill()
    pid = file.read_text().split()[0]
    until(lambda: has_ended(pid))


def has_ended(pid: str) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_it_says_reaches_the_log_with_the_jobs_id(
    separate: Callable[..., Separation], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        separate(Acting(speak))
    records = {record.getMessage(): record for record in caplog.records}
    for line in ("said on standard output", "said by a library", "in two lines\x1b[31m"):
        assert records[f"job 1700000000_2, in its own process: {line}"].levelno == logging.WARNING
    own = records["logged by its own process"]
    assert (own.name, own.levelno) == (__name__, logging.INFO)
    told = [record for record in caplog.records if record.name in (__name__, suspect.__name__)]
    assert {vars(record)["job_id"] for record in told} == {"1700000000_2"}


def test_what_cannot_begin_is_no_crash(
    separate: Callable[..., Separation], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any
) -> None:
    monkeypatch.setattr(suspect, "BLAME_AFTER_SECONDS", 0.0)
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError), match="pickle"):
        separate(lambda: None)
    with monkeypatch.context() as elsewhere, pytest.raises(RuntimeError, match="ended with 1 before it could begin"):
        elsewhere.setattr(suspect, "SEARCH_FOLDER", tmp_path)
        elsewhere.setattr(suspect.sys, "executable", broken_python(tmp_path))
        separate(FastSeparator())
    assert "no such library" in caplog.text
    with monkeypatch.context() as busy, pytest.raises(BlockingIOError):
        busy.setattr(subprocess, "Popen", lambda *_, **__: fail(BlockingIOError(errno.EAGAIN, "Resource unavailable")))
        separate(FastSeparator())
    assert separate(FastSeparator()).model == LABEL


def broken_python(folder: Path) -> str:
    script = folder / "python"
    script.write_text("#!/bin/sh\necho no such library\nexit 1\n")
    script.chmod(0o755)
    return str(script)


def test_one_at_a_time_and_who_waits_hears_a_stop(source: Path, tmp_path: Path) -> None:
    file, stop = tmp_path / "told", threading.Event()
    isolated = IsolatedSeparator(Acting(stand_still, file))
    ended: list[type[BaseException]] = []

    def run(heard: threading.Event) -> None:
        try:
            isolated(source, tmp_path, job_id="1_2", progress=lambda _: None, stopping=heard.is_set, **OPTIONS)
        except Interrupted as error:
            ended.append(type(error))

    first = threading.Thread(target=run, args=(stop,))
    first.start()
    until(file.exists)
    waiting = threading.Event()
    beats: list[float] = []

    def beating(percent: float) -> None:
        beats.append(percent)
        if len(beats) == 2:
            waiting.set()

    with pytest.raises(Interrupted):
        isolated(source, tmp_path, job_id="3_2", progress=beating, stopping=waiting.is_set, **OPTIONS)
    assert beats == [0.0, 0.0], "who waits is alive"
    stop.set()
    first.join(60)
    assert ended == [Interrupted]
