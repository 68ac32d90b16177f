"""Nothing that only Linux has is needed: the program is imported, separates and serves where it is taken away."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ezstems
from ezstems import disk
from tests.support import audio_files
from tests.support.callers import Caller
from tests.support.servers import ROOT, Server

MAC = [sys.executable, "-m", "tests.support.macos"]
NOBODY = 65_534


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return audio_files.write_wav(tmp_path / "song.wav", audio_files.song(2 * audio_files.RATE_HZ))


def on_a_mac(*arguments: str, instance: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"EZSTEMS_INSTANCE": str(instance)}
    return subprocess.run(
        [*MAC, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_types_know_of_nothing_that_is_missing() -> None:
    """Typeshed says of each name of the standard library on which systems it is there."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--platform", "darwin", "--cache-dir", ".mypy_cache/darwin"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout


def test_every_module_is_imported_where_things_are_missing(tmp_path: Path) -> None:
    done = on_a_mac("--import", instance=tmp_path / "instance")
    package = Path(ezstems.__file__).parent
    modules = [path for path in package.rglob("*.py") if not {"builtin", "migrations", "samples"} & {*path.parts}]
    assert done.returncode == 0, done.stderr
    *missed, imported = done.stdout.splitlines()
    assert missed == [  # or these tests would hold nothing
        "module 'os' has no attribute 'fdatasync'", "[Errno 2] No such file or directory: '/proc/cpuinfo'", "prctl"
    ]  # fmt: skip
    assert int(imported) == len(modules)  # the package itself, for its bundled model's


def test_a_file_is_separated(tmp_path: Path, song: Path) -> None:
    arguments = ("separate", str(song), "--output", "flac", "--directory", str(tmp_path))
    done = on_a_mac(*arguments, instance=tmp_path / "instance")
    assert done.returncode == 0, done.stderr
    mix, stems = audio_files.read(song), [tmp_path / "song" / f"{stem}.flac" for stem in ("vocals", "accompaniment")]
    apart = sum(audio_files.read(stem) for stem in stems) - mix
    assert len(apart) == len(mix) and abs(apart).max() < 0.01


def test_a_server_takes_an_upload_and_stops_in_order(tmp_path: Path, song: Path) -> None:
    server = Server(tmp_path / "instance", model="builtin", metrics="on")
    server.arguments = [*MAC, "serve"]
    with server:
        caller = Caller(server, server.key())
        job = caller.upload(song.read_bytes())
        caller.wait(job["id"])
        with zipfile.ZipFile(io.BytesIO(caller.get("download.php", id=job["id"]).content)) as packed:
            assert packed.namelist() == ["vocals.wav", "accompaniment.wav"] and packed.testzip() is None
        server.stop()
        assert server.process is not None and server.process.returncode == 0
    assert "Traceback" not in server.log.read_text()
    assert (server.instance / "metrics" / "counter_0.db").stat().st_size == 512 * 1024
    assert (server.instance / disk.RESERVE).stat().st_size == disk.RESERVE_BYTES


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can work as somebody else")
def test_what_root_makes_in_anothers_folder_is_theirs_and_root_is_itself_again(entered_path: Path) -> None:
    os.chown(entered_path, NOBODY, NOBODY)
    (entered_path / "roots").mkdir()
    code = "\n".join((
        "from tests.support import macos",
        "macos.become_one()",
        "import os, pathlib, sys",
        "from ezstems.instance import privileges",
        "privileges.can_become = lambda *_, **__: True",  # Python itself may lie where only root can read
        "folder = pathlib.Path(sys.argv[1])",
        "with privileges.as_owner_of(folder):",
        "    (folder / 'theirs').touch()",
        "    with privileges.as_caller():",
        "        (folder / 'roots' / 'outside').touch()",
        "    (folder / 'again').touch()",
        "(folder / 'roots' / 'after').touch()",
    ))  # fmt: skip
    command = [sys.executable, "-c", code, str(entered_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in entered_path.rglob("*") if path.is_file()}
    assert found == dict.fromkeys(("theirs", "again"), (NOBODY, NOBODY)) | dict.fromkeys(("outside", "after"), (0, 0))
