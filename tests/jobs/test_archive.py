"""The files of the jobs: nothing half-written is ever visible, nothing half-written stays."""

import errno
import os
import time
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from ezstems.audio.peaks import Peaks
from ezstems.errors import ServerFull
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.opened import OpenedFile
from ezstems.jobs.zip_entry import ZipEntry
from ezstems.models import FileNames, utcnow


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    return FolderArchive(tmp_path, "me")


PEAKS = Peaks(3, 64, {"vocals": b"\xff", "accompaniment": b"\x00"})


def job(job_id: str) -> FileNames:
    return FileNames(job_id, f"{job_id}_00000.wav", None, "me")


def stem_of(archive: FolderArchive, job_id: str, name: str) -> ZipEntry:
    return ZipEntry(OpenedFile(archive.result(job_id)), name)


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_upload_gets_its_name_when_it_is_whole(archive: FolderArchive, tmp_path: Path) -> None:
    incoming = archive.new_upload()
    incoming.write(b"abc")
    incoming.write(b"def")
    assert all(name.endswith(".part") for name in tree(tmp_path))
    incoming.finish()
    archive.store_upload(incoming, job("1_2"))
    incoming.discard()
    assert tree(tmp_path) == {"uploads/1_2_00000.wav"}
    assert archive.source("1_2_00000.wav").read_bytes() == b"abcdef"
    assert incoming.size_bytes == 6


def test_a_linked_upload_lasts_until_both_names_are_gone(archive: FolderArchive, tmp_path: Path) -> None:
    (tmp_path / "uploads" / "1_2_00000.wav").write_bytes(b"a song")
    os.utime(tmp_path / "uploads" / "1_2_00000.wav", (1, 1))
    archive.link_upload(job("1_2"), job("2_2"))
    assert tree(tmp_path) == {"uploads/1_2_00000.wav", "uploads/2_2_00000.wav"}
    # A sweep before its row is there must not take it for an old file that no row names.
    assert list(archive.finished_before([utcnow()], timedelta(hours=1))) == []
    archive.remove_source(job("1_2"))
    archive.link_upload(job("2_2"), job("3_2"))
    archive.remove_source(job("2_2"))
    assert archive.source("3_2_00000.wav").read_bytes() == b"a song"
    with pytest.raises(FileNotFoundError):
        archive.link_upload(job("2_2"), job("4_2"))
    assert tree(tmp_path) == {"uploads/3_2_00000.wav"}


@pytest.mark.parametrize("call", ["hardlink_to", "replace"])
def test_a_link_that_finds_no_room(
    archive: FolderArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    (tmp_path / "uploads" / "1_2_00000.wav").write_bytes(b"a song")
    monkeypatch.setattr(Path, call, full)
    with pytest.raises(ServerFull, match="disk is full"):
        archive.link_upload(job("1_2"), job("2_2"))
    assert tree(tmp_path) == {"uploads/1_2_00000.wav"}


def test_a_discarded_upload_leaves_nothing(archive: FolderArchive, tmp_path: Path) -> None:
    incoming = archive.new_upload()
    incoming.write(b"x" * 100_000)
    incoming.discard()
    incoming.discard()
    assert tree(tmp_path) == set()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_so(
    archive: FolderArchive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(code, "no room")

    incoming = archive.new_upload()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ServerFull, match="disk is full"):
        incoming.finish()
    incoming.discard()
    assert tree(tmp_path) == set()


def test_the_zip_holds_the_stems_stored_and_names_the_model(archive: FolderArchive, tmp_path: Path) -> None:
    with archive.workspace(job("1_2")) as folder:
        stems = [folder / "vocals.wav", folder / "accompaniment.wav"]
        for stem in stems:
            stem.write_bytes(stem.name.encode() * 1000)
        (folder / "scratch").write_bytes(b"not a stem")
        archive.pack(job("1_2"), stems, "made by a model", PEAKS)
    assert tree(tmp_path) == {"results/1_2.zip", "results/1_2.peaks"}
    assert archive.peaks("1_2").read_text() == PEAKS.json()
    with zipfile.ZipFile(archive.result("1_2")) as packed:
        assert packed.namelist() == ["vocals.wav", "accompaniment.wav"]
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        assert packed.read("vocals.wav") == b"vocals.wav" * 1000
        assert packed.comment == b"made by a model"
        assert packed.testzip() is None


def test_a_failure_while_packing_leaves_nothing(archive: FolderArchive, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), archive.workspace(job("1_2")) as folder:
        archive.pack(job("1_2"), [folder / "missing.wav"], "", PEAKS)
    assert tree(tmp_path) == set()
    assert list((tmp_path / "results").iterdir()) == []


def test_the_zip_is_announced_last(archive: FolderArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, renamed = Path.replace, []

    def spying(path: Path, target: Path) -> Path:
        renamed.append(target.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", spying)
    with archive.workspace(job("1_2")) as folder:
        (folder / "vocals.wav").write_bytes(b"x")
        archive.pack(job("1_2"), [folder / "vocals.wav"], "", PEAKS)
    assert renamed == ["1_2.peaks", "1_2.zip"]


def test_a_job_goes_with_all_its_files(archive: FolderArchive, tmp_path: Path) -> None:
    names = {"uploads/1_2_00000.wav", "results/1_2.zip", "results/1_2.peaks"}
    for name in (*names, "results/11_2.zip", "results/11_2.peaks"):
        (tmp_path / name).write_bytes(b"x")
    archive.remove(job("1_2"))
    archive.remove(job("1_2"))
    assert tree(tmp_path) == {"results/11_2.zip", "results/11_2.peaks"}


def test_a_stem_is_a_window_on_its_entry(archive: FolderArchive) -> None:
    contents = {"vocals.wav": b"v" * 100, "drums.wav": bytes(range(256)) * 3000, "bass.wav": b""}
    with archive.workspace(job("1_4")) as folder:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        archive.pack(job("1_4"), [folder / name for name in contents], "a comment", PEAKS)
    etags = set()
    for name, content in contents.items():
        with stem_of(archive, "1_4", name) as stem:
            etags.add(stem.etag)
            assert stem.size_bytes == len(content)
            assert stem.read() == content and stem.read(1) == b""
            places = ((0, 1), (50, 60), (99, 5), (1000, 100_000), (767_999, 9), (10**12, 3), (len(content), 1))
            for start, count in places:
                assert stem.seek(start) == stem.tell() == start
                assert stem.read(count) == content[start : start + count], (name, start)
            assert stem.seek(0, os.SEEK_END) == len(content)
            with pytest.raises(OSError, match="before"):
                stem.seek(-1)
            # A server that finds a descriptor sends the whole file.
            with pytest.raises(OSError, match="fileno"):
                stem.fileno()
        with pytest.raises(ValueError, match="closed"):
            stem.read(1)
    assert len(etags) == 3
    with stem_of(archive, "1_4", "drums.wav") as again:
        assert again.etag in etags
    for missing in ("other.wav", "drums", "../1_4.zip", ""):
        with pytest.raises(KeyError):
            stem_of(archive, "1_4", missing)
    with pytest.raises(FileNotFoundError):
        stem_of(archive, "1_5", "vocals.wav")


def test_what_a_dead_worker_left_goes_and_nothing_else(archive: FolderArchive, tmp_path: Path) -> None:
    dead = FolderArchive(tmp_path, "dead")
    dead.new_upload().write(b"half")
    (tmp_path / "results" / "dead.1_2.part").mkdir()
    (tmp_path / "results" / "dead.1_2.part" / "vocals.wav").write_bytes(b"half")
    (tmp_path / "results" / "dead.1_2.zip.part").write_bytes(b"half")
    (tmp_path / "results" / "dead.1_2.peaks.part").write_bytes(b"half")
    mine = archive.new_upload()
    (tmp_path / "results" / "7_2.zip").write_bytes(b"whole")
    archive.remove_unfinished("dead")
    assert tree(tmp_path) == {f"uploads/{mine.path.name}", "results/7_2.zip"}
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["7_2.zip"]


def test_finished_files_are_told_by_age_and_name(archive: FolderArchive, tmp_path: Path) -> None:
    archive.new_upload().write(b"half")
    old, new = tmp_path / "uploads" / "old.wav", tmp_path / "results" / "new.zip"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 100, time.time() - 100))
    now, age = utcnow(), timedelta(seconds=50)
    assert list(archive.finished_before([now], age)) == [old]
    assert list(archive.finished_before([now - timedelta(days=1)], age)) == [old, new], "nor was one of tomorrow"
    assert list(archive.finished_before([now, now - timedelta(days=1)], age)) == [old], "new by one of the clocks"
