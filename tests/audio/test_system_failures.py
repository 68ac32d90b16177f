"""What the system does to ffmpeg is the server's fault; what a file does to it is the file's."""

import errno
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezstems.audio import decode as decoding
from ezstems.audio import ffmpeg
from ezstems.audio.decode import check, decode
from ezstems.audio.encode import Writer
from ezstems.audio.length import refuse_longer
from ezstems.errors import DecodingFailed, EncodingFailed, UnreadableAudio
from tests.support.audio_files import song, write_wav

SYSTEM = ("EACCES", "ENOENT", "EAGAIN", "EMFILE", "ENFILE", "ENOSPC", "ENODEV", "ESTALE")


@pytest.fixture(autouse=True)
def _started_before() -> None:
    ffmpeg.executable()
    ffmpeg.guard()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "song.wav", song(20_000))


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return what replaces ffmpeg by a program that writes some bytes and ends with a code."""

    def replace(code: int, written_bytes: int = 0) -> None:
        script = tmp_path / "ffmpeg"
        script.write_text(f"#!/bin/sh\nhead -c {written_bytes} /dev/zero\necho refused >&2\nexit {code}\n")
        script.chmod(0o700)
        monkeypatch.setattr(ffmpeg, "executable", lambda: str(script))

    return replace


def everything(path: Path) -> list[Callable[[], object]]:
    def whole() -> None:
        with decode(path, block_samples=1000) as blocks:
            list(blocks)

    return [lambda: check(path, "wav"), lambda: refuse_longer(path, 60), whole]


@pytest.mark.parametrize("code", [*(256 - getattr(errno, name) for name in SYSTEM), 126, 127])
def test_the_systems_errors_are_not_the_files(code: int, wav: Path, ends_with: Callable[..., None]) -> None:
    ends_with(code)
    for act in everything(wav):
        with pytest.raises(DecodingFailed, match="Nothing is wrong with the file"):
            act()


@pytest.mark.parametrize("code", [1, 69, 183, 187, 234, 244, 251])
def test_a_files_errors_are_its_own(code: int, wav: Path, ends_with: Callable[..., None]) -> None:
    ends_with(code)
    for act in (everything(wav)[0], everything(wav)[2]):
        with pytest.raises(UnreadableAudio):
            act()


def test_an_error_of_the_disk_is_told_from_a_file_that_ends_early(
    wav: Path, ends_with: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_with(256 - errno.EIO)
    input_arguments = decoding.input_arguments

    def and_the_disk_fails(path: Path, extension: str) -> list[str]:
        arguments = input_arguments(path, extension)
        path.rename(path.with_suffix(".gone"))  # from now on nobody can read it
        return arguments

    monkeypatch.setattr(decoding, "input_arguments", and_the_disk_fails)
    with pytest.raises(DecodingFailed):
        check(wav, "wav")


def test_a_failure_in_the_midst_makes_no_short_song(wav: Path, ends_with: Callable[..., None]) -> None:
    ends_with(256 - errno.EAGAIN, written_bytes=80_000)
    with decode(wav, block_samples=1000) as blocks, pytest.raises(DecodingFailed):
        list(blocks)
    ends_with(183, written_bytes=80_000)
    with decode(wav, block_samples=1000) as blocks:
        assert sum(map(len, blocks)) == 10_000, "what breaks off is separated as far as it decodes"


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM, errno.ENOENT, errno.EACCES])
def test_an_ffmpeg_that_cannot_be_started(wav: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OSError(error, "refused")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    for act in everything(wav):
        with pytest.raises(DecodingFailed, match="Nothing is wrong with the file"):
            act()
    with pytest.raises(EncodingFailed):
        Writer(wav.with_suffix(".mp3"), "mp3")


def test_as_many_threads_as_there_may_be(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children, popen, start = [], subprocess.Popen, threading.Thread.start

    def starting(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        children.append(popen(*arguments, **options))
        return children[-1]

    def refusing(name: str) -> None:
        def begin(thread: threading.Thread) -> None:
            if thread.name.startswith(name):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", begin)

    monkeypatch.setattr(subprocess, "Popen", starting)
    refusing("ffmpeg-stderr")
    for act in everything(wav):
        with pytest.raises(DecodingFailed):
            act()
    refusing("decode-ahead")
    with pytest.raises(DecodingFailed):
        everything(wav)[2]()
    refusing("write-")
    for output in ("wav", "mp3"):
        with pytest.raises(EncodingFailed):
            Writer(wav.with_suffix(f".{output}"), output)
    assert len(children) == 5
    assert all(child.returncode is not None for child in children), "no ffmpeg is left"


def test_an_ffmpeg_that_cannot_be_tried_at_first_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from imageio_ffmpeg import _utils

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise BlockingIOError(errno.EAGAIN, "as many processes as there may be")

    found = ffmpeg.executable()
    _utils._get_ffmpeg_exe.cache_clear()
    with monkeypatch.context() as crowded:
        for name in ("check_call", "check_output", "Popen"):
            crowded.setattr(subprocess, name, refuse)
        with pytest.raises(DecodingFailed):
            ffmpeg.executable.__wrapped__()
    assert ffmpeg.executable.__wrapped__() == found
