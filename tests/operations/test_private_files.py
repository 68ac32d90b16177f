"""Whose the files of an instance are, and who may read them, whatever the umask and whoever runs a command."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from ezstems import create_app, log
from ezstems.cli import main
from ezstems.instance import privileges
from ezstems.weights import fetch
from tests.support import audio_files, release
from tests.support.callers import Caller
from tests.support.servers import Server

NOBODY = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can work as somebody else")


def open_to_others(folder: Path) -> dict[str, str]:
    """Return the modes of what others than the owner may use."""
    found = ((path, path.lstat().st_mode) for path in (folder, *folder.rglob("*")))
    return {str(path.relative_to(folder)): oct(mode) for path, mode in found if mode & 0o077 and not stat.S_ISLNK(mode)}


def of_others(folder: Path) -> list[str]:
    """Return what is not the nobody's."""
    found = ((path, path.lstat()) for path in (folder, *folder.rglob("*")))
    return [str(path) for path, status in found if (status.st_uid, status.st_gid) != (NOBODY, NOBODY)]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_a_server_of_a_lax_umask_keeps_everything_to_itself(tmp_path: Path, song: bytes) -> None:
    server = Server(tmp_path / "instance", metrics="on")
    server.arguments = ["sh", "-c", 'umask 000; exec "$@"', "sh", *server.arguments]
    with umask(0):
        key = server.key()
        assert open_to_others(server.instance) == {}
        with server:
            caller = Caller(server, key)
            caller.wait(caller.upload(song)["id"])
            assert {path.name for path in (server.instance / "metrics").iterdir()} > {"0.lock", "counter_0.db"}
            assert len(list((server.instance / "workers").glob("*.lock"))) == 1
            (server.instance / "hold").touch(0o600)
            running = caller.upload(song)["id"]
            caller.wait(running, "processing")
            caller.upload(song)
            with caller.half_an_upload(song):
                assert server.parts()
                assert open_to_others(server.instance) == {}
            server.release()


def test_under_a_lax_umask_an_instance_is_private_and_stems_are_the_callers(
    run: Callable[..., Result], instance: Path, tmp_path: Path
) -> None:
    song = audio_files.write_wav(tmp_path / "song.wav", audio_files.song(10_000))
    with umask(0):
        run("separate", str(song), "--output", "FLAC", "--directory", str(tmp_path))
    assert open_to_others(instance) == {}
    assert stat.S_IMODE((tmp_path / "song" / "vocals.flac").stat().st_mode) == 0o666


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
def test_commands_work_under_every_umask_and_leave_it(
    run: Callable[..., Result], instance: Path, tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        run("users", "add", "you@example.com", "--password", "any")
        run("backup", str(tmp_path / "backup.tar"))
        assert os.umask(mask) == mask
    assert open_to_others(instance) == {}
    assert stat.S_IMODE((tmp_path / "backup.tar").stat().st_mode) == 0o600


def test_locks_that_an_earlier_version_left_open_are_closed(instance: Path) -> None:
    (instance / "workers").mkdir(parents=True)
    (instance / "workers").chmod(0o777)
    (instance / ".lock").touch()
    (instance / ".lock").chmod(0o666)
    with umask(0):
        create_app({"EZSTEMS_INSTANCE": instance})
    modes = [stat.S_IMODE((instance / name).stat().st_mode) for name in ("workers", ".lock", "uploads", "results")]
    assert modes == [0o700, 0o600, 0o700, 0o700]


@pytest.fixture
def theirs(instance: Path) -> Path:
    """Return an empty instance folder of another user's."""
    instance.mkdir(mode=0o700)
    os.chown(instance, NOBODY, NOBODY)
    return instance


Command = Callable[..., str]


@pytest.fixture
def command(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a runner of commands on that folder, as from a shell; it returns how they ended: "0", or what was said."""
    monkeypatch.setenv("EZSTEMS_INSTANCE", str(theirs))
    monkeypatch.setattr(log, "configure", lambda _level: None)  # the tests' own logging stays

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["ezstems", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        assert os.getresuid() == (0, 0, 0) and os.getresgid() == (0, 0, 0)
        return str(caught.value.code)

    return call


@needs_root
def test_what_roots_commands_make_is_the_folders_owners(theirs: Path, tmp_path: Path, command: Command) -> None:
    shut = tmp_path / "roots"
    shut.mkdir(mode=0o700)
    for arguments in (
        ("users", "add", "you@example.com", "--password", "any"),
        ("keys", "add", "you@example.com"),
        ("jobs", "prune"),
        ("models", "list"),
        ("backup", str(shut / "backup.tar")),
    ):
        assert command(*arguments) == "0"
        assert of_others(theirs) == [], arguments
    made = {path.name for path in theirs.iterdir()}
    assert made >= {"ezstems.sqlite3", "secret_key", ".lock", "workers", "uploads", "results"}
    assert (shut / "backup.tar").stat().st_uid == 0, "what lies elsewhere is the caller's"


@needs_root
def test_weights_that_root_fetches_are_the_folders_owners(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for server in release.running(monkeypatch):
        release.serve(server, release.pack(), monkeypatch)
        with privileges.as_owner_of(theirs):
            assert fetch.fetch(2, theirs / "models", base_url=server.base_url)
    assert (theirs / "models" / "2stems" / "model.index").exists()
    assert of_others(theirs) == [] and open_to_others(theirs) == {}
    assert os.getresuid() == (0, 0, 0) and os.getresgid() == (0, 0, 0)


@needs_root
def test_what_root_separates_is_roots_and_what_it_keeps_is_the_folders_owners(
    theirs: Path, tmp_path: Path, command: Command
) -> None:
    roots = tmp_path / "roots"
    roots.mkdir(mode=0o700)
    audio_files.write_wav(roots / "song.wav", audio_files.song(audio_files.RATE_HZ))
    with umask(0o022):
        command("separate", str(roots / "song.wav"), "--directory", str(roots))
    stems = [roots / "song" / f"{name}.wav" for name in ("vocals", "accompaniment")]
    assert [(path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) for path in stems] == [(0, 0o644)] * 2
    assert of_others(theirs) == []


@needs_root
@pytest.mark.parametrize("name", ["secret_key", "secret_key.part", ".lock", ".reserve", "ezstems.sqlite3"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_link_makes_root_give_away_or_change_what_is_its_own(
    theirs: Path, tmp_path: Path, command: Command, name: str, link: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("root's own, and long enough for a key")
    victim.chmod(0o600)
    before = victim.stat()
    link(victim, theirs / name)
    told = command("users", "add", "a@example.com", "--password", "a good one")
    after = victim.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert victim.read_text() == "root's own, and long enough for a key"
    assert "\n" not in told
    if name == ".lock":
        assert told.endswith(f"must be writable: {theirs / name}: Permission denied")
    elif name == "ezstems.sqlite3":
        assert str(theirs / name) in told


@needs_root
@pytest.mark.parametrize("name", ["uploads", "results", "workers", "models"])
def test_a_link_in_a_folders_place_leads_root_nowhere(
    theirs: Path, tmp_path: Path, command: Command, name: str
) -> None:
    roots = tmp_path / "roots"
    roots.mkdir(mode=0o755)
    (theirs / name).symlink_to(roots)
    command("users", "add", "you@example.com", "--password", "any")
    assert list(roots.iterdir()) == [] and stat.S_IMODE(roots.stat().st_mode) == 0o755


@needs_root
def test_who_may_not_become_another_stays_who_it_is(theirs: Path) -> None:
    code = f"""
import os
from pathlib import Path
from ezstems.instance import privileges
with privileges.as_owner_of(Path({str(theirs)!r})):
    assert os.geteuid() == 0 and os.umask(0o077) == 0o077
"""
    bounded = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-setuid,-setgid"]
    done = subprocess.run([*bounded, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_who_is_not_root_makes_files_as_itself(tmp_path: Path) -> None:
    with privileges.as_owner_of(tmp_path), privileges.as_caller():
        assert os.getresuid() == (os.getuid(),) * 3
