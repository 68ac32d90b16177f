"""The files of the jobs: nothing half-written is ever visible, nothing half-written stays."""

import errno
import os
import time
import zipfile
from pathlib import Path

import pytest

from ezstems.errors import ServerFull
from ezstems.jobs.archive import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path, "me")


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_upload_gets_its_name_when_it_is_whole(archive: Archive, tmp_path: Path) -> None:
    incoming = archive.incoming()
    incoming.write(b"abc")
    incoming.write(b"def")
    assert all(name.endswith(".part") for name in tree(tmp_path))
    incoming.finish()
    archive.keep(incoming, "1_2_00000.wav")
    incoming.discard()
    assert tree(tmp_path) == {"uploads/1_2_00000.wav"}
    assert archive.source("1_2_00000.wav").read_bytes() == b"abcdef"
    assert incoming.size_bytes == 6


def test_a_discarded_upload_leaves_nothing(archive: Archive, tmp_path: Path) -> None:
    incoming = archive.incoming()
    incoming.write(b"x" * 100_000)
    incoming.discard()
    incoming.discard()
    assert tree(tmp_path) == set()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_so(archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(code, "no room")

    incoming = archive.incoming()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ServerFull, match="disk is full"):
        incoming.finish()
    incoming.discard()
    assert tree(tmp_path) == set()


def test_the_zip_holds_the_stems_stored_and_names_the_model(archive: Archive, tmp_path: Path) -> None:
    with archive.workspace("1_2") as folder:
        stems = [folder / "vocals.wav", folder / "accompaniment.wav"]
        for stem in stems:
            stem.write_bytes(stem.name.encode() * 1000)
        (folder / "scratch").write_bytes(b"not a stem")
        archive.pack("1_2", stems, "made by a model")
    assert tree(tmp_path) == {"results/1_2.zip"}
    with zipfile.ZipFile(archive.result("1_2")) as packed:
        assert packed.namelist() == ["vocals.wav", "accompaniment.wav"]
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        assert packed.read("vocals.wav") == b"vocals.wav" * 1000
        assert packed.comment == b"made by a model"
        assert packed.testzip() is None


def test_a_failure_while_packing_leaves_nothing(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), archive.workspace("1_2") as folder:
        archive.pack("1_2", [folder / "missing.wav"], "")
    assert tree(tmp_path) == set()
    assert list((tmp_path / "results").iterdir()) == []


def test_what_a_dead_worker_left_goes_and_nothing_else(archive: Archive, tmp_path: Path) -> None:
    dead = Archive(tmp_path, "dead")
    dead.incoming().write(b"half")
    (tmp_path / "results" / "dead.1_2.part").mkdir()
    (tmp_path / "results" / "dead.1_2.part" / "vocals.wav").write_bytes(b"half")
    (tmp_path / "results" / "dead.1_2.zip.part").write_bytes(b"half")
    mine = archive.incoming()
    (tmp_path / "results" / "7_2.zip").write_bytes(b"whole")
    archive.clean("dead")
    assert tree(tmp_path) == {f"uploads/{mine.path.name}", "results/7_2.zip"}
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["7_2.zip"]


def test_finished_files_are_told_by_age_and_name(archive: Archive, tmp_path: Path) -> None:
    archive.incoming().write(b"half")
    old, new = tmp_path / "uploads" / "old.wav", tmp_path / "results" / "new.zip"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 100, time.time() - 100))
    assert list(archive.finished(older_than=time.time() - 50)) == [old]
