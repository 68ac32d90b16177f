"""`upload.php`: files whose content is not what their extension says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flask import Flask

from ezstems.models import Job
from tests.support.audio_files import convert, ffmpeg, write_wav
from tests.support.multipart import Upload, assert_nothing_left, error_of, job_of


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, song: bytes) -> dict[str, bytes]:
    """Return the song in every accepted format, and things that are no song."""
    folder = tmp_path_factory.mktemp("files")
    source = folder / "song.wav"
    source.write_bytes(song)
    video = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=1")
    ffmpeg(*video, "-f", "mp4", folder / "video.m4a")
    ffmpeg(*video, "-frames:v", "1", "-update", "1", folder / "picture.png")
    write_wav(folder / "none.wav", np.zeros((0, 2), np.float32))
    convert(source, "song.mp3", "-b:a", "192k")
    convert(source, "aac.m4a", "-c:a", "aac")
    convert(source, "alac.m4a", "-c:a", "alac")
    convert(source, "song.ogg", "-c:a", "libopus")
    convert(source, "song.flac")
    convert(source, "s16.wav", "-c:a", "pcm_s16le")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_accepted_kind_completes(
    upload: Upload, finished: Callable[[str], Job], files: dict[str, bytes]
) -> None:
    for name in ("song.mp3", "aac.m4a", "alac.m4a", "song.wav", "s16.wav"):
        answer = upload(content=files[name], name=name)
        assert answer.status_code == 200, (name, answer.text)
        assert finished(answer.json["data"]["id"]).status == "completed", name


def test_a_truncated_mp3_is_accepted(app: Flask, upload: Upload, files: dict[str, bytes]) -> None:
    mp3 = files["song.mp3"]
    assert job_of(app, upload(content=mp3[: len(mp3) * 2 // 3], name="cut.mp3")).size_bytes == len(mp3) * 2 // 3


def test_content_of_another_kind(app: Flask, upload: Upload, files: dict[str, bytes]) -> None:
    text = b"This is not audio, only a letter about it.\n" * 200
    cases = [(text, f"text.{extension}") for extension in ("mp3", "wav", "m4a")]
    cases += [(files["picture.png"], f"picture.{extension}") for extension in ("mp3", "wav", "m4a")]
    cases += [
        (files["song.wav"], "wave.mp3"),
        (files["song.wav"], "wave.m4a"),
        (files["song.mp3"], "song.wav"),
        (files["song.mp3"], "song.m4a"),
        (files["aac.m4a"], "song.mp3"),
        (files["aac.m4a"], "song.wav"),
        (files["song.ogg"], "song.mp3"),
        (files["song.flac"], "song.wav"),
        (files["none.wav"], "none.wav"),
        (files["none.wav"][:44], "header.wav"),
        (files["song.wav"][:20], "cut.wav"),
        (files["video.m4a"], "video.m4a"),
        (bytes(100_000), "zeros.mp3"),
        (b"R", "r.wav"),
    ]
    for content, name in cases:
        answer = upload(content=content, name=name)
        message = error_of(answer)
        assert answer.json["error"] == "Invalid audio file", name
        assert name.rpartition(".")[2].upper() in message, (name, message)
        assert_nothing_left(app, name)


def test_playlists_and_scripts_open_nothing(app: Flask, upload: Upload, song: bytes, tmp_path: Path) -> None:
    target = tmp_path / "secret.wav"
    target.write_bytes(song)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{target}\n#EXT-X-ENDLIST\n"
    scripts = (playlist, f"ffconcat version 1.0\nfile '{target}'\n", f"ffconcat version 1.0\nfile {target.name}\n")
    for script in scripts:
        for extension in ("mp3", "wav", "m4a"):
            answer = upload(content=script.encode(), name=f"song.{extension}")
            assert error_of(answer)
            assert "secret" not in answer.text and str(tmp_path) not in answer.text
            assert_nothing_left(app, script)


def test_what_ffmpeg_says_stays_in_the_log(app: Flask, upload: Upload, files: dict[str, bytes]) -> None:
    broken = files["aac.m4a"][: len(files["aac.m4a"]) // 2]  # its index, at the end, is gone
    answer = upload(content=broken, name="broken.m4a")
    assert error_of(answer) == "The file holds no decodable M4A audio."
    assert_nothing_left(app)
