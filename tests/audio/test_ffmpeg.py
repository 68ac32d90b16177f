"""The bounds of a child process: each is shown by an ffmpeg that runs into it."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from ezstems.audio import decode as decode_room
from ezstems.audio import length
from ezstems.audio.decode import check, decode
from ezstems.audio.ffmpeg import MEMORY_BYTES, Child, command, guard
from ezstems.audio.length import refuse_longer
from ezstems.errors import DecodingFailed, UnreadableAudio
from tests.audio.test_decode import FAMILIES
from tests.support.audio_files import convert, ffmpeg, song, write_wav
from tests.support.boxes import parse
from tests.support.crafted import SCRIPTS, wave

ENDLESS = ("-f", "lavfi", "-i", "anoisesrc=r=44100")
MAPPED = ("-map", "0:v", "-map", "1:a", "-c:v", "mpeg4", "-c:a", "aac")
HUGE = ("-f", "lavfi", "-i", "color=s=16000x16000:r=1,format=gbrp")  # frames of 768 MB


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody has waited for yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_limits_are_those_of_the_kernel() -> None:
    with Child(command("-re", *ENDLESS, "-f", "null", "-"), writes=True, cpu_seconds=7) as child:
        process = Path(f"/proc/{child.process.pid}")
        limits = re.findall(r"^(.{25}) (.+?)  ", (process / "limits").read_text(), re.MULTILINE)
        assert {name.strip(): soft.strip() for name, soft in limits}.items() >= {
            ("Max cpu time", "7"),
            ("Max data size", str(MEMORY_BYTES)),
            ("Max file size", "0"),
            ("Max core file size", "0"),
        }
        assert os.getpgid(child.process.pid) == child.process.pid
        assert (process / "fd" / "0").readlink() == Path("/dev/null")


def test_a_burner_of_the_processor_is_ended() -> None:
    with Child(command(*ENDLESS, "-f", "null", "-", loglevel="info"), cpu_seconds=1) as child:
        child.wait()
        assert child.gave_up and not child.was_stopped


def test_a_hog_of_memory_is_ended() -> None:
    with Child(command(*HUGE, "-frames:v", "20", "-f", "null", "-")) as child:
        child.wait()
        assert child.gave_up and not child.was_stopped, child.stderr()


def test_a_decoder_writes_no_file(tmp_path: Path) -> None:
    source = tmp_path / "pipe"  # it opens no output before this, and is bounded by then
    os.mkfifo(source)
    with Child(command("-f", "s16le", "-i", str(source), str(tmp_path / "x.wav")), writes=True) as child:
        with suppress(BrokenPipeError):
            source.write_bytes(bytes(1 << 20))
        assert child.wait()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


@pytest.mark.skipif(not guard(), reason="setpriv, of util-linux, is not installed")
def test_a_child_dies_with_its_parent() -> None:
    code = (
        "from ezstems.audio.ffmpeg import Child, command; import os, signal\n"
        f"child = Child(command('-re', *{ENDLESS}, '-f', 'null', '-'))\n"
        "print(child.process.pid, flush=True); input(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None and parent.stdout is not None
    pid = int(parent.stdout.readline())
    deadline = monotonic() + 60
    while b"ffmpeg" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
        assert monotonic() < deadline
        sleep(0.01)
    assert not gone(pid)
    parent.stdin.write(b"\n")
    parent.stdin.close()
    assert parent.wait(60) == -signal.SIGKILL
    parent.stdout.close()
    while not gone(pid):
        assert monotonic() < deadline, "ffmpeg outlives its parent"
        sleep(0.01)


@pytest.mark.parametrize(
    ("tool", "guarded"), [("exit 0", True), ("echo no such option >&2; exit 1", False), (None, False)]
)
def test_a_setpriv_that_does_not_work_stops_nobody(
    tool: str | None,
    guarded: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard.cache_clear()
    if tool is not None:
        setpriv = tmp_path / "setpriv"
        setpriv.write_text(f"#!/bin/sh\n{tool}\n")
        setpriv.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.which", lambda _name: tool and str(setpriv))
        found = guard()
    guard.cache_clear()
    assert bool(found) == guarded
    assert ("no such option" in caplog.text) == (not guarded and tool is not None)


def test_a_burner_in_a_file_fails_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_wav(tmp_path / "song.wav", song(44_100))
    monkeypatch.setattr(decode_room, "input_arguments", lambda path, extension: list(ENDLESS))
    monkeypatch.setattr(decode_room, "CPU_SECONDS", 1)
    longer = pytest.raises(UnreadableAudio, match="longer than 60 seconds")  # endless output is counted
    with decode(source, block_samples=100_000, longest_seconds=60) as decoding, longer:
        list(decoding)
    monkeypatch.setattr(decode_room, "CPU_SECONDS_A_SECOND", 0)
    burnt = pytest.raises(UnreadableAudio, match="too much time or memory")
    with decode(source, block_samples=100_000, longest_seconds=1e9) as decoding, burnt:
        list(decoding)


def test_a_killed_check_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(Child):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.process.kill()

    monkeypatch.setattr(decode_room, "input_arguments", lambda path, extension: list(ENDLESS))  # it can't end before
    monkeypatch.setattr("ezstems.audio.ffmpeg.Child", Killed)
    with pytest.raises(DecodingFailed, match="Nothing is wrong with the file"):
        check(write_wav(tmp_path / "song.wav", song(4410)), "wav")


def test_a_hang_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_wav(tmp_path / "song.wav", song(4410))
    monkeypatch.setattr(decode_room, "input_arguments", lambda path, extension: ["-re", *ENDLESS])
    monkeypatch.setattr(decode_room, "CHECK_TIMEOUT_SECONDS", 0)
    with pytest.raises(UnreadableAudio, match="in time"):
        check(source, "wav")
    monkeypatch.setattr(decode_room, "STALL_ROUNDS", 2)
    monkeypatch.setattr(decode_room, "ROUND_SECONDS", 0.1)
    with decode(source, block_samples=10_000_000) as decoding:
        with pytest.raises(DecodingFailed, match="no progress"):
            next(decoding)
        pid = decoding._child.process.pid
    assert gone(pid)


@pytest.mark.parametrize("extension", [min(family) for family in FAMILIES])
def test_a_playlist_calls_nobody(extension: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = b"127.0.0.1:%d" % listener.getsockname()[1]
        for number, script in enumerate(SCRIPTS):
            path = tmp_path / f"{number}.{extension}"
            path.write_bytes(script.replace(b"127.0.0.1:9", address).replace(b"127.0.0.1", address))
            # Not through the check, which would see that it is no audio.
            with pytest.raises(UnreadableAudio), decode(path, block_samples=1000) as decoding:
                next(decoding)
            refuse_longer(path, 60)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_only_the_named_demuxer_and_decoders_open_a_file(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", song(20_000))
    for name in ("song.ogg", "song.flac", "vorbis.mkv", "song.ac3", "song.caf", "song.wv", "song.avi"):
        path = convert(source, name)
        for extension in (min(family) for family in FAMILIES if path.suffix[1:] not in family):
            renamed = path.with_name(f"{path.stem}.{extension}")
            renamed.write_bytes(path.read_bytes())
            with pytest.raises(UnreadableAudio), decode(renamed, block_samples=1000) as decoding:
                next(decoding)


def test_a_longer_file_is_refused_before_any_work(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", song(3 * 44_100))
    for path in (source, convert(source, "song.mp3"), convert(source, "song.m4a")):
        with pytest.raises(UnreadableAudio, match="longer than 1 seconds"):
            refuse_longer(path, 1)
        refuse_longer(path, 3)


def test_what_begins_late_is_no_longer_by_that(tmp_path: Path) -> None:
    video = ("-f", "lavfi", "-i", "testsrc=d=9:s=64x64:r=5", "-itsoffset", "5")
    path = tmp_path / "late.m4a"
    ffmpeg(*video, "-i", write_wav(tmp_path / "song.wav", song(3 * 44_100)), *MAPPED, "-f", "mp4", path)
    check(path, "m4a")
    refuse_longer(path, 3)
    with pytest.raises(UnreadableAudio, match="longer than 1 seconds"):
        refuse_longer(path, 1)
    with decode(path, block_samples=44_100, longest_seconds=4) as decoding:
        assert sum(map(len, decoding)) == pytest.approx(3 * 44_100, abs=3000)


def test_a_header_lies_both_ways(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", song(5 * 44_100))
    mp3 = convert(source, "song.mp3", "-q:a", "5")
    content = mp3.read_bytes()
    at = content.find(b"Xing") + 8  # the number of frames
    for frames, seconds in ((1_000_000, 26_000), (40, 1.0)):
        mp3.write_bytes(content[:at] + frames.to_bytes(4, "big") + content[at + 4 :])
        with decode(mp3, block_samples=1 << 20) as decoding:
            next(decoding)
            assert decoding.duration_seconds == pytest.approx(seconds, rel=0.5)
        refuse_longer(mp3, 6)
        with pytest.raises(UnreadableAudio, match="longer than 3 seconds"):
            refuse_longer(mp3, 3)


def test_where_the_packets_lie_too_the_samples_count(tmp_path: Path) -> None:
    m4a = convert(write_wav(tmp_path / "song.wav", song(5 * 44_100)), "song.m4a", "-c:a", "aac")
    root = parse(m4a.read_bytes())
    table = root.find(b"stts")
    table.payload = bytes(4) + (1).to_bytes(4, "big") + (217).to_bytes(4, "big") + (100).to_bytes(4, "big")
    root.find(b"edts").times = 0
    m4a.write_bytes(root.content())
    refuse_longer(m4a, 3)
    with decode(m4a, block_samples=10_000, longest_seconds=3) as decoding:
        with pytest.raises(UnreadableAudio, match="longer than 3 seconds"):
            list(decoding)
        assert decoding.samples < 3 * 44_100 + 10_001


def test_an_endless_count_is_left_to_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length, "MOST_SECONDS", 0)
    refuse_longer(write_wav(tmp_path / "song.wav", song(3 * 44_100)), 1)


@pytest.mark.parametrize(
    ("channels", "mask", "gains"),
    [
        (1, 0x1, [(1, 1)]),
        (1, 0x2, [(1, 1)]),
        (1, 0x8, [(1, 1)]),
        (2, 0x30, [(1, 0), (0, 1)]),
        (2, 0x1, [(1, 0), (0, 1)]),
        # Centre and back 3 dB below the front, everything scaled so that full scale is never left; no bass channel.
        (4, 0x33, [(0.586, 0), (0, 0.586), (0.414, 0), (0, 0.414)]),
        (6, 0x3F, [(0.414, 0), (0, 0.414), (0.293, 0.293), (0, 0), (0.293, 0), (0, 0.293)]),
        (6, 0x60F, [(0.414, 0), (0, 0.414), (0.293, 0.293), (0, 0), (0.293, 0), (0, 0.293)]),
    ],
)
def test_what_each_channel_becomes(channels: int, mask: int, gains: list[tuple[float, float]], tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    for channel, expected in enumerate(gains):
        audio = np.zeros((5000, channels), "<i2")
        audio[:, channel] = 16_384
        path.write_bytes(wave(audio.tobytes(), channels=channels, mask=mask))
        check(path, "wav")
        with decode(path, block_samples=5000) as decoding:
            assert 2 * next(decoding)[2500] == pytest.approx(expected, abs=0.001)
