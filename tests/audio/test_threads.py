"""Threads of a separation that end in an error, or can't begin: whoever waits for them hears of it, nothing is left."""

import queue
import signal
import subprocess
import threading
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from ezstems.audio import decode as decode_room
from ezstems.audio import encode
from ezstems.audio.decode import decode
from ezstems.audio.encode import Writer
from ezstems.audio.ffmpeg import Child
from ezstems.audio.outputs import OUTPUTS
from ezstems.errors import DecodingFailed, EncodingFailed
from tests.support.audio_files import song, write_wav


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "song.wav", song(88_200))


@pytest.mark.parametrize("error", [ValueError("an odd block"), MemoryError(), SystemExit(1)])
@pytest.mark.parametrize("output", OUTPUTS)
def test_whatever_ends_the_thread_of_a_stem_reaches_its_writer(
    output: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def odd(block: np.ndarray) -> np.ndarray:
        raise error

    monkeypatch.setattr(encode, "pcm16", odd)
    threads = set(threading.enumerate())
    refused = pytest.raises(EncodingFailed, match="'vocals' could not be written")
    with refused as failed, Writer(tmp_path / f"vocals.{output}", output) as writer:
        for _ in range(5):  # more than the queue holds
            writer.write(song(1000))
        writer.finish()
    assert failed.value.__cause__ is error
    assert set(threading.enumerate()) <= threads
    assert "in odd" in caplog.text, "the stack says where"


@pytest.mark.parametrize("output", ["wav", "mp3"])
def test_a_stem_without_a_thread_leaves_no_process(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, children = threading.Thread.start, []
    begin = encode.Child.__init__

    def remembering(self: encode.Child, *arguments: object, **options: object) -> None:
        children.append(self)
        begin(self, *arguments, **options)  # type: ignore[arg-type]

    def starting(self: threading.Thread) -> None:
        if self.name.startswith("write"):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", starting)
    monkeypatch.setattr(encode.Child, "__init__", remembering)
    with pytest.raises(EncodingFailed):
        Writer(tmp_path / f"stem.{output}", output)
    assert len(children) == (output == "mp3")
    assert all(child.process.returncode is not None for child in children)


@pytest.mark.parametrize("error", [MemoryError(), ValueError("an odd block"), SystemExit(1)])
def test_whatever_ends_the_thread_that_reads_ahead_reaches_who_waits(
    error: BaseException, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(block: np.ndarray) -> np.ndarray:
        raise error

    monkeypatch.setattr(decode_room, "_audible", odd)
    threads, started = set(threading.enumerate()), monotonic()
    with pytest.raises(type(error)) as raised, decode(wav, block_samples=10_000) as decoding:
        next(decoding)
    assert raised.value is error and raised.traceback[-1].name == "odd"
    assert monotonic() - started < decode_room.STALL_ROUNDS / 2, "nobody waited for it"
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("thread", ["decode-ahead", "ffmpeg-stderr"])
def test_without_a_thread_no_process_is_left(thread: str, wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, children = threading.Thread.start, []
    popen = subprocess.Popen.__init__

    def starting(self: threading.Thread) -> None:
        if self.name == thread:
            raise RuntimeError("can't start new thread")
        start(self)

    def remembering(self: "subprocess.Popen[bytes]", *arguments: object, **options: object) -> None:
        children.append(self)
        popen(self, *arguments, **options)  # type: ignore[call-overload]

    decode(wav, block_samples=10_000).close()  # what is found out once
    monkeypatch.setattr(threading.Thread, "start", starting)
    monkeypatch.setattr(subprocess.Popen, "__init__", remembering)
    with pytest.raises(DecodingFailed):
        decode(wav, block_samples=10_000)
    assert [child.returncode for child in children] == [-signal.SIGKILL]


def test_what_the_decoder_says_and_nobody_can_read_ends_it(
    wav: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def odd(self: Child) -> None:
        raise MemoryError

    monkeypatch.setattr(Child, "_gather_stderr", odd)
    with pytest.raises(DecodingFailed, match="Nothing is wrong with the file"), decode(wav, block_samples=1) as blocks:
        blocks._child.process.wait(60)  # nobody reads yet, so that it can't have come to its end
        list(blocks)
    assert "in odd" in caplog.text


def test_a_process_that_stood_still_has_not_waited(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute passes in every look at the queue: more than enough, were it counted."""
    monkeypatch.setattr(decode_room, "STALL_ROUNDS", 3)
    looks = iter((queue.Empty, queue.Empty))
    with decode(wav, block_samples=10_000) as decoding:
        get = decoding._queue.get

        def late(timeout: float) -> np.ndarray | None:
            if error := next(looks, None):
                raise error
            return get(timeout=60)

        monkeypatch.setattr(decoding._queue, "get", late)
        assert len(next(decoding)) == 10_000
        monkeypatch.undo()
