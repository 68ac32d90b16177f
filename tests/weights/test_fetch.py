"""The official weights arrive whole or not at all: packed by the tests, served by a real HTTP server here."""

import hashlib
import importlib.util
import re
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezstems.errors import BadInput, FetchFailed
from ezstems.weights import fetch, unpack
from tests.support.release import (
    CHUNK,
    Server,
    assert_installed,
    assert_no_model,
    left_in,
    member,
    pack,
    running,
    serve,
)
from tests.weights.test_weights import write_checkpoint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server."""
    yield from running(monkeypatch)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The models' folder, which nobody has made yet."""
    return tmp_path / "instance" / "models"


def test_plain(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, pack(format=tarfile.PAX_FORMAT), monkeypatch)
    told: list[tuple[int, int | None]] = []
    assert fetch.fetch(2, models, base_url=server.base_url, progress=lambda *now: told.append(now)) is True
    assert_installed(models)
    size = len(server.content)
    assert told[0] == (0, size)
    assert told[-1] == (size, size)
    assert told == sorted(told)
    assert len(told) >= 10
    assert [request.path for request in server.requests] == ["/2stems.tar.gz"]


def test_complete_weights_are_not_fetched_again(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, pack(), monkeypatch)
    assert fetch.fetch(2, models, base_url=server.base_url) is True
    assert fetch.fetch(2, models, base_url=server.base_url) is False
    (models / "2stems" / ".probe").unlink()  # as after copying by hand
    assert fetch.fetch(2, models, base_url=server.base_url) is False
    assert len(server.requests) == 1


def test_weights_that_were_damaged_since_are_fetched_again(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch)
    assert fetch.fetch(2, models, base_url=server.base_url)
    shard = models / "2stems" / "model.data-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)  # as long as before
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    (models / "2stems" / "source.json").unlink()  # now they may be anybody's own
    shard.write_bytes(content)
    assert not fetch.fetch(2, models, base_url=server.base_url)
    assert len(server.requests) == 2


def test_another_archive_is_refused_with_both_sums(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = serve(server, pack(), monkeypatch, sha256="ab" * 32)
    got = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(FetchFailed, match=f"its SHA-256 is {got}, expected {expected}; it was deleted"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert not (models / "2stems.tar.gz.part").exists()
    assert_no_model(models)


@pytest.mark.parametrize(
    ("evil", "why"),
    [
        (member("../evil"), "leads out of its folder"),
        (member("inside/../../evil"), "leads out of its folder"),
        (member("/tmp/evil-of-ezstems"), "leads out of its folder"),
        (member("evil", tarfile.SYMTYPE, "/etc/passwd"), "is neither a file nor a folder"),
        (member("evil", tarfile.LNKTYPE, "model.index"), "is neither a file nor a folder"),
        (member("evil", tarfile.FIFOTYPE), "is neither a file nor a folder"),
        (member("evil", tarfile.CHRTYPE), "is neither a file nor a folder"),
        (member("model.index"), "holds 'model.index' twice"),
        (member("evil", size=2 << 20), "far more than a model"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else value,
)
def test_a_hostile_archive_is_refused_whole(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch, evil: tarfile.TarInfo, why: str
) -> None:
    serve(server, pack(evil), monkeypatch)
    monkeypatch.setattr(unpack, "UNPACKED_LIMIT_BYTES", 2 << 20)
    with pytest.raises(FetchFailed, match=f"2stems.tar.gz was refused: .*{why}"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert not left_in(models)
    assert list(models.parent.iterdir()) == [models]
    assert not Path("/tmp/evil-of-ezstems").exists()
    assert_no_model(models)


def test_an_archive_of_too_many_members_is_refused(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(*(member(f"more{number}") for number in range(unpack.MEMBERS_LIMIT))), monkeypatch)
    with pytest.raises(FetchFailed, match="far more than a model"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert_no_model(models)


@pytest.mark.parametrize("lacking", ["checkpoint", "model.index", "model.data-00000-of-00001"])
def test_an_archive_without_a_whole_model_is_refused(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    serve(server, pack(leave_out=lacking), monkeypatch)
    with pytest.raises(FetchFailed, match=f"2stems.tar.gz was refused: '{lacking}' is missing"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert not left_in(models)
    assert_no_model(models)


@pytest.mark.parametrize("content", [b"<html>", b"text" * 9999, b""], ids=["page", "text", "nothing"])
def test_what_is_no_archive_is_refused(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    serve(server, content, monkeypatch)
    with pytest.raises(FetchFailed, match="it is not a whole tar.gz archive"):
        fetch.fetch(2, models, base_url=server.base_url)
    assert_no_model(models)


def test_an_archive_cut_short_is_refused(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pack()
    for length in (len(whole) // 3, len(whole) - 9000):
        serve(server, whole[:length], monkeypatch)
        with pytest.raises(FetchFailed, match="it is not a whole tar.gz archive"):
            fetch.fetch(2, models, base_url=server.base_url)
        assert_no_model(models)


def test_folders_inside_the_archive_are_passed_over(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(member("__MACOSX", tarfile.DIRTYPE), member("__MACOSX/._model.index")), monkeypatch)
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)


def test_a_folder_that_cannot_be_made_is_said_so(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FetchFailed, match=f"can't be written: {tmp_path}/file/models: Not a directory"):
        fetch.fetch(2, tmp_path / "file" / "models", base_url=server.base_url)


def test_a_stale_half_model_is_replaced(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, pack(), monkeypatch)
    (write_checkpoint(models / "2stems") / "model.index").unlink()
    (models / "2stems" / "junk").write_text("junk")
    write_checkpoint(models / ".2stems.new")  # a killed process left these
    write_checkpoint(models / ".2stems.old")
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)


def test_a_stale_half_model_outlives_a_failed_fetch(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, pack(), monkeypatch, sha256="ab" * 32)
    (write_checkpoint(models / "2stems") / "model.index").unlink()
    with pytest.raises(FetchFailed):
        fetch.fetch(2, models, base_url=server.base_url)
    assert (models / "2stems" / "checkpoint").exists()


def test_two_at_once_fetch_once(server: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, pack(), monkeypatch)
    server.stall_after = CHUNK
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch.fetch(2, models, base_url=server.base_url)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # the others' chance to ask too
    server.released.set()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [False, False, True]
    assert len(server.requests) == 1
    assert_installed(models)


def test_unknown_stems_are_refused(models: Path) -> None:
    with pytest.raises(BadInput, match="stems=3 must be 2, 4 or 5"):
        fetch.fetch(3, models)


def test_stopped_before_the_last_rename_leaves_no_model_and_needs_no_second_download(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    serve(server, pack(), monkeypatch)
    with monkeypatch.context() as stopped:
        stopped.setattr(fetch, "sync", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch.fetch(2, models, base_url=server.base_url)
    assert_no_model(models)
    assert left_in(models) == {"2stems.tar.gz.part"}
    assert fetch.fetch(2, models, base_url=server.base_url)
    assert_installed(models)
    assert len(server.requests) == 1


def test_the_release_is_spleeters_own() -> None:
    assert sorted(fetch.ARCHIVES) == [2, 4, 5]
    for stems, archive in fetch.ARCHIVES.items():
        assert archive.name == f"{stems}stems.tar.gz"
        assert re.fullmatch("[0-9a-f]{64}", archive.sha256)
    pieces = ("https://github.com", "deezer/spleeter", "releases/download", "v1.4.0")
    assert "/".join(pieces) == fetch.BASE_URL
    spec = importlib.util.find_spec("spleeter")
    assert spec is not None and spec.origin is not None
    provider = Path(spec.origin).with_name("model") / "provider" / "github.py"
    for piece in pieces:
        assert f'"{piece}"' in provider.read_text()
