"""`ezstems remote separate` against a server of the contract alone, one of what goes beyond it, and their faults."""

import hashlib
import os
import pty
import re
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result

from ezstems.remote import api as apis
from tests.support.reference_api import KEY, STEMS, Fault, ReferenceServer, refusal, serving, zipped

Separate = Callable[..., Result]
LIMITED = "Rate limit exceeded"


@pytest.fixture(params=[False, True], ids=["original", "beyond"])
def either(request: pytest.FixtureRequest) -> Iterator[ReferenceServer]:
    with serving(beyond=request.param) as server:
        yield server


@pytest.fixture
def original() -> Iterator[ReferenceServer]:
    with serving() as server:
        yield server


@pytest.fixture
def beyond() -> Iterator[ReferenceServer]:
    with serving(beyond=True) as server:
        yield server


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that were made, each of which takes no time."""
    made: list[float] = []

    def sleep(api: apis.Api, seconds: float) -> None:
        if seconds:  # none asks alone whether the user wants more
            made.append(seconds)

    monkeypatch.setattr(apis.Api, "sleep", sleep)
    return made


@pytest.fixture
def separate(run: Callable[..., Result], tmp_path: Path, pauses: list[float]) -> Separate:
    """Return a runner of the command on songs by their names, which it makes."""

    def invoke(server: ReferenceServer | str, *names: str, code: int = 0, options: tuple[str, ...] = ()) -> Result:
        files = [str(tmp_path / name) for name in names or ("song.mp3",)]
        for file in map(Path, files):
            if not file.exists():
                file.write_bytes(f"the sound of {file.name}".encode())
        url = server if isinstance(server, str) else server.url
        where = ("--server", url, "--key", KEY, "--directory", str(tmp_path / "out"))
        return run("remote", "separate", *files, *where, *options, code=code)

    return invoke


def made(tmp_path: Path) -> dict[str, bytes]:
    """Return what lies in the target folder."""
    out = tmp_path / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def stems_of(*names: str) -> dict[str, bytes]:
    return {f"{name}/{stem}": content for name in names for stem, content in STEMS.items()}


def test_songs_become_folders_of_stems(
    either: ReferenceServer, separate: Separate, tmp_path: Path, instance: Path, pauses: list[float]
) -> None:
    either.archive = zipped(STEMS, "Separated with the model: a\nClipped: none")
    result = separate(either, "one.mp3", "two [live].WAV")
    assert made(tmp_path) == stems_of("one", "two [live]") and not instance.exists()
    assert result.stdout == ""
    assert f"{tmp_path}/out/two [live]: Separated with the model: a Clipped: none\n" in result.stderr
    assert f"{tmp_path}/one.mp3: queued, job 1700000000_2\n" in result.stderr
    uploads = [call for call in either.calls if call.endpoint == "upload.php"]
    assert [call.file for call in uploads] == [
        (name, hashlib.sha256(f"the sound of {name}".encode()).hexdigest()) for name in ("one.mp3", "two [live].WAV")
    ]
    assert [call.fields for call in uploads] == [{"stems": "2"}] * 2  # the server knows its own defaults
    assert {call.headers.get("Prefer") for call in either.calls if call.endpoint == "status.php"} == {"wait=60"}
    assert either.endpoints().count("status.php") == (2 if either.beyond else 6)
    assert pauses == ([] if either.beyond else [1, 2, 1, 2])


def test_options_are_the_fields(beyond: ReferenceServer, separate: Separate) -> None:
    separate(beyond, options=("--stems", "4", "--cutoff", "16KHZ", "--output", "flac"))
    (upload,) = [call for call in beyond.calls if call.endpoint == "upload.php"]
    assert upload.fields == {"stems": "4", "cutoff": "16kHz", "output": "flac"}


def test_key_and_server_may_be_of_the_environment(
    beyond: ReferenceServer, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of ~/.netrc isn't mistaken for the key."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EZSTEMS_SERVER", f"{beyond.url}/api/v1/")
    monkeypatch.setenv("EZSTEMS_KEY", f" {KEY}\n")
    (tmp_path / "song.m4a").write_bytes(b"sound")
    assert KEY not in run("remote", "separate", str(tmp_path / "song.m4a"), "--directory", str(tmp_path / "out")).output
    assert made(tmp_path) == stems_of("song")


def test_the_same_again_is_the_same_job(beyond: ReferenceServer, separate: Separate, tmp_path: Path) -> None:
    separate(beyond)
    separate(beyond)
    assert len(beyond.jobs) == 1
    separate(beyond, options=("--stems", "4"))
    separate(beyond, options=("--anew",))
    (tmp_path / "song.mp3").write_bytes(b"another sound")
    separate(beyond)
    assert len(beyond.jobs) == 4
    keys = [call.headers["Idempotency-Key"] for call in beyond.calls if call.endpoint == "upload.php"]
    assert keys[0] == keys[1] and len(set(keys)) == 4 and max(map(len, keys)) <= 255


@pytest.mark.parametrize("fate", ["failed", "deleted"])
def test_what_came_to_nothing_is_tried_anew(beyond: ReferenceServer, separate: Separate, fate: str) -> None:
    beyond.endings = [{"status": "failed", "error": "No luck."}]
    assert separate(beyond, code=1).stderr.endswith("song.mp3: No luck.\n")
    if fate == "deleted":
        del beyond.jobs["1700000000_2"]
        beyond.jobs["another"] = []
    separate(beyond)
    separate(beyond)
    assert len(beyond.answers) == 2
    keys = [call.headers["Idempotency-Key"] for call in beyond.calls if call.endpoint == "upload.php"]
    assert keys[0] == keys[1] == keys[3] and keys[2] == keys[4] != keys[0]


def test_one_that_fails_does_not_stop_the_others(either: ReferenceServer, separate: Separate, tmp_path: Path) -> None:
    either.endings = [{"status": "completed"}, {"status": "failed", "error": "It is \x1b[31mno audio."}]
    either.faults["upload.php"] = [refusal(400, "Invalid audio file", "song is none."), *[Fault()] * 3]
    result = separate(either, "a.mp3", "b.mp3", "c.mp3", "d.mp3", code=1)
    assert f"{tmp_path}/a.mp3: Invalid audio file: song is none.\n" in result.stderr
    assert f"{tmp_path}/c.mp3: It is \N{REPLACEMENT CHARACTER}[31mno audio.\n" in result.stderr
    assert made(tmp_path) == stems_of("b", "d")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b", "d"]


@pytest.mark.parametrize(
    ("faults", "slept"),
    [
        ([refusal(403, LIMITED, Retry_After=7)], [7]),
        ([refusal(403, LIMITED), refusal(403, LIMITED)], [1, 2]),
        ([refusal(403, "Too many jobs", "50 of 50", Retry_After=60)] * 3, [60, 60, 60]),
        ([refusal(500, "Server full", Retry_After=30)], [30]),
        ([refusal(400, "Bad request", "One is in flight.", Retry_After=0)], [1]),
        ([refusal(503, "", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")], [1]),
        ([Fault(502, {}, b"<html>Bad gateway")], [1]),
        ([Fault(500, {}, b"")] * 3, [1, 2, 4]),
    ],
)
@pytest.mark.parametrize("endpoint", ["upload.php", "status.php", "download.php"])
def test_what_is_refused_for_the_moment_is_asked_again(
    beyond: ReferenceServer,
    separate: Separate,
    pauses: list[float],
    faults: list[Fault],
    slept: list[float],
    endpoint: str,
) -> None:
    beyond.faults[endpoint] = [*faults]
    result = separate(beyond)
    assert pauses == slept and len(beyond.jobs) == 1
    assert f"; trying again in {slept[-1]} s\n" in result.stderr


@pytest.mark.parametrize(
    ("fault", "told", "calls"),
    [
        (refusal(400, "File too large", "30 MB."), "File too large: 30 MB.", 1),
        (refusal(403, "Forbidden", "Not you."), "Forbidden: Not you.", 1),
        (Fault(413, {}, b"<html>"), "the server answered 413", 1),
        (Fault(301, {"Location": "https://b.example/"}), "sends on to https://b.example/; name that as --server", 1),
        (Fault(200, {}, b"<html>Welcome"), "upload.php answered with what is no answer of the API", 1),
        (Fault(200, {}, b'{"success": true, "data": {}}'), "the server's answer lacks 'id'", 1),
        (Fault(500, {}, b""), "the server answered 500", 4),
        (refusal(403, LIMITED, "Later."), "Rate limit exceeded: Later.", 8),
        (refusal(403, LIMITED, "Later.", Retry_After=40_000), "Rate limit exceeded: Later.", 3),
    ],
)
def test_what_is_refused_for_good_is_told(
    beyond: ReferenceServer, separate: Separate, tmp_path: Path, fault: Fault, told: str, calls: int
) -> None:
    beyond.faults["upload.php"] = [fault] * 20
    assert told in separate(beyond, code=1).stderr.splitlines()[-1]
    assert beyond.endpoints("POST") == ["upload.php"] * calls
    assert not (tmp_path / "out").exists()


def test_a_lost_answer_makes_no_second_job(beyond: ReferenceServer, separate: Separate, tmp_path: Path) -> None:
    beyond.faults["upload.php"] = [Fault(lose=True), Fault(lose=True)]
    separate(beyond)
    assert len(beyond.jobs) == 1 and beyond.endpoints("POST") == ["upload.php"] * 3
    assert made(tmp_path) == stems_of("song")


@pytest.mark.parametrize("fault", [Fault(lose=True), Fault(502)], ids=["cut", "gateway"])
def test_the_original_is_not_sent_a_song_twice(original: ReferenceServer, separate: Separate, fault: Fault) -> None:
    original.faults["upload.php"] = [fault]
    assert "it may have made a job, and one more could be a second one" in separate(original, code=1).stderr
    assert original.endpoints("POST") == ["upload.php"]


def test_a_song_that_did_not_arrive_whole_is_sent_again(
    either: ReferenceServer, separate: Separate, tmp_path: Path, pauses: list[float]
) -> None:
    (tmp_path / "song.wav").write_bytes(bytes(20_000_000))  # more than what lies in buffers between the two
    either.faults["upload.php"] = [Fault(cut=1000), Fault(cut=0)]
    separate(either, "song.wav")
    assert len(either.jobs) == 1 and pauses[:2] == [1, 2]
    assert made(tmp_path) == stems_of("song")


def test_a_download_goes_on_where_it_was_cut(either: ReferenceServer, separate: Separate, tmp_path: Path) -> None:
    either.faults["download.php"] = [Fault(cut=100_000), Fault(cut=70_000)]
    separate(either)
    asked = [call.headers for call in either.calls if call.endpoint == "download.php"]
    assert [headers.get("Range") for headers in asked] == [None, "bytes=65536-", "bytes=131072-"]
    assert [headers.get("If-Range") for headers in asked] == [None, '"1"', '"1"']
    assert made(tmp_path) == stems_of("song")


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_what_may_be_another_file_is_downloaded_anew(
    either: ReferenceServer, separate: Separate, tmp_path: Path, etag: str
) -> None:
    either.etag = etag
    either.faults["download.php"] = [Fault(cut=100_000)]
    separate(either)
    assert all("Range" not in call.headers for call in either.calls)
    assert made(tmp_path) == stems_of("song")


@pytest.mark.parametrize("status", [200, 206, 416])
def test_a_file_that_changed_meanwhile_is_downloaded_anew(
    either: ReferenceServer, separate: Separate, tmp_path: Path, status: int
) -> None:
    """A server may also send another part than it was asked for."""
    other = zipped({"vocals.wav": b"other" * 50_000})
    half = {"ETag": '"2"', "Content-Range": f"bytes 9-{len(other) - 1}/{len(other)}"}
    answers = {200: Fault(200, {"ETag": '"2"'}, other), 206: Fault(206, half, other[9:]), 416: Fault(416)}
    either.faults["download.php"] = [Fault(cut=100_000), answers[status]]
    separate(either)
    assert made(tmp_path) == ({"song/vocals.wav": b"other" * 50_000} if status == 200 else stems_of("song"))


def test_a_connection_that_breaks_again_and_again_is_given_up(
    either: ReferenceServer, separate: Separate, pauses: list[float], tmp_path: Path
) -> None:
    either.faults["download.php"] = [Fault(cut=100_000), *[Fault(cut=0)] * 20]
    assert "broke again and again while the stems were downloaded" in separate(either, code=1).stderr
    assert pauses[-7:] == [1, 2, 4, 8, 15, 30, 60] and made(tmp_path) == {}


def test_damaged_stems_are_fetched_once_more(either: ReferenceServer, separate: Separate, tmp_path: Path) -> None:
    whole = either.archive
    damaged = whole.replace(b"vvvv", b"vvvw", 1)
    either.faults["download.php"] = [Fault(200, {}, damaged)]
    separate(either)
    assert made(tmp_path) == stems_of("song")
    either.faults["download.php"] = [Fault(200, {}, damaged), Fault(200, {}, whole[:-40])]
    assert "what the server sent is no whole ZIP" in separate(either, "other.mp3", code=1).stderr.splitlines()[-1]
    assert made(tmp_path) == stems_of("song")  # and nothing else


@pytest.mark.parametrize(
    "name",
    ["../x.wav", "/x.wav", "a/x.wav", "a/", "..", ".x", "c:x.wav", "a\\x.wav", "x\n.wav", "\x1b[2J", "x" * 300, " \0x"],
)
def test_a_zip_that_writes_elsewhere_is_refused(
    either: ReferenceServer, separate: Separate, tmp_path: Path, name: str
) -> None:
    either.archive = zipped({"vocals.wav": b"v", name: b"x"})
    before = {path for path in tmp_path.rglob("*") if path.name != "song.mp3"}
    result = separate(either, code=1)
    assert "which is no name of a stem" in result.stderr and "\x1b" not in result.stderr
    assert {path for path in tmp_path.rglob("*") if path.name != "song.mp3"} - before == {tmp_path / "out"}


def test_stems_that_do_not_fit_are_refused(
    either: ReferenceServer, separate: Separate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.archive = zipped({f"{number}.wav": b"" for number in range(65)})
    assert "no song has so many stems" in separate(either, code=1).stderr
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=1000))
    either.archive = zipped(STEMS)
    assert "the stems need 0 MiB of disk, and 0 MiB are free" in separate(either, code=1, options=("--anew",)).stderr
    assert made(tmp_path) == {}


def test_memory_does_not_grow_with_the_song(either: ReferenceServer, separate: Separate, tmp_path: Path) -> None:
    size_bytes = 64 * 1024**2
    content = {"vocals.wav": bytes(size_bytes)}
    either.archive = zipped(content)
    name = "long.wav"
    with (tmp_path / name).open("wb") as file:
        file.truncate(size_bytes)
    tracemalloc.start()
    try:
        separate(either, name)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out" / "long" / "vocals.wav").stat().st_size == size_bytes
    assert peak_bytes < size_bytes / 8


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("stems.example.com", "server='stems.example.com' must be an address like https://stems.example.com"),
        ("ftp://stems.example.com", "must be an address like"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1 can't be reached: Connection refused"),
        ("http://[::1", "server='http://[::1' must be an address like"),
    ],
)
def test_a_server_that_is_none_is_told_at_once(
    run: Callable[..., Result], tmp_path: Path, pauses: list[float], url: str, told: str
) -> None:
    (tmp_path / "song.mp3").write_bytes(b"sound")
    result = run("remote", "separate", str(tmp_path / "song.mp3"), "--server", url, "--key", KEY, code=1)
    assert told in str(result.exception) and "\n" not in str(result.exception) and pauses == []


def test_no_secure_connection_is_told_in_a_line(original: ReferenceServer, separate: Separate) -> None:
    result = separate(original.url.replace("http", "https"), code=1)
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+: no secure connection: [^\n]+", str(result.exception))


def test_a_key_that_nobody_knows_is_told_before_anything_is_sent(
    either: ReferenceServer, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "song.mp3").write_bytes(b"sound")
    result = run("remote", "separate", str(tmp_path / "song.mp3"), "--server", either.url, "--key", "wrong", code=1)
    assert str(result.exception) == "Unauthorized: The key is unknown."
    assert [call.endpoint for call in either.calls] == ["keys.php"]
    result = run("remote", "separate", str(tmp_path / "song.mp3"), "--server", either.url, "--key", "ü", code=1)
    assert "must be of ASCII characters" in str(result.exception)


def test_what_can_be_seen_here_is_told_before_anything_is_sent(
    either: ReferenceServer, separate: Separate, tmp_path: Path
) -> None:
    assert "extension='ogg' must be mp3, wav, m4a" in separate(either, "song.ogg", code=1).stderr
    assert "song: several files" in separate(either, "song.mp3", "song.wav", code=1).stderr
    separate(either, code=2, options=("--stems", "3"))
    separate(either, code=2, options=("--output", "aiff"))
    os.mkfifo(tmp_path / "pipe.mp3")
    assert "must be a file, not a pipe" in separate(either, "pipe.mp3", code=2).stderr
    assert either.calls == []


@pytest.mark.parametrize("is_beyond", [False, True], ids=["original", "beyond"])
def test_an_interruption_says_what_becomes_of_the_jobs(tmp_path: Path, is_beyond: bool) -> None:
    (tmp_path / "song.mp3").write_bytes(b"sound")
    program = [sys.executable, "-c", "from ezstems.cli import main; main()"]
    with serving(beyond=is_beyond) as server:
        server.endings = [{"status": "processing", "progress": 60}]
        command = [*program, "remote", "separate", "song.mp3", "--server", server.url, "--key", KEY]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        try:
            while "status.php" not in server.endpoints():
                assert server.asked.wait(60)
                server.asked.clear()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130 and "Traceback" not in told
    if is_beyond:
        assert server.jobs == {} and "song.mp3: job 1700000000_2 is deleted at the server" in told
    else:
        assert "song.mp3: job 1700000000_2 goes on at the server (Not found: There is nothing here.)" in told
    assert [path.name for path in tmp_path.iterdir()] == ["song.mp3"]


def test_a_terminal_gets_bars(beyond: ReferenceServer, tmp_path: Path) -> None:
    """A pause lets one be seen; a name is no markup."""
    (tmp_path / "a [b].mp3").write_bytes(b"sound")
    beyond.faults["status.php"] = [refusal(500, "Server busy", Retry_After=1)]
    program = [sys.executable, "-c", "from ezstems.cli import main; main()"]
    command = [*program, "remote", "separate", "a [b].mp3", "--server", beyond.url, "--key", KEY]
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        pytest.skip(f"the system lends no terminal: {error.strerror or error}")
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, cwd=tmp_path, stderr=theirs, env=environ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # so a terminal ends
            while block := os.read(ours, 4096):
                shown += block
    os.close(ours)
    assert process.returncode == 0 and b"a [b].mp3: queued" in shown
    assert b"a [b].mp3: Server busy; trying again in 1 s" in shown and b"a [b]: separated" in shown
    assert {call.headers["Prefer"] for call in beyond.calls if "Prefer" in call.headers} == {"wait=3"}
    assert {path.name for path in tmp_path.iterdir()} == {"a [b].mp3", "a [b]"}


def test_nothing_of_a_server_is_loaded() -> None:
    heavy = ("flask", "sqlalchemy", "gunicorn", "scipy", "openvino", "tensorflow", "spleeter", "pandas", "alembic")
    code = f"import sys, ezstems.cli, ezstems.commands.remote; print(*{{*{heavy}}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("\n", "")
