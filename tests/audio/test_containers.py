"""What the website takes beside MP3, WAV and M4A: sample for sample ffmpeg's plain decode, and nothing more."""

import os
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio.decode import check
from ezstems.audio.ffmpeg import command
from ezstems.audio.kinds import API_EXTENSIONS, DEMUXERS, MOST_STREAMS, UPLOAD_EXTENSIONS
from ezstems.audio.length import refuse_longer
from ezstems.errors import UnreadableAudio
from tests.audio.test_decode import decoded
from tests.support.audio_files import convert, ffmpeg, read, song, write_wav
from tests.support.boxes import parse
from tests.support.frames import id3

SAMPLES = 44_100
VIDEO = ("-f", "lavfi", "-i", "testsrc=d=2:s=64x64:r=10")
MAPPED = ("-map", "0:v", "-map", "1:a", "-c:v", "mpeg4")
PROTECTED = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76" * 16, "-encryption_kid", "a7" * 16)
COVER_BYTES = 100_000_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("containers") / "song.wav", song(SAMPLES))


def plain(path: Path) -> np.ndarray:
    """Decode as ffmpeg does by itself, to our rate and channels."""
    target = path.with_name(f"{path.name}.plain.wav")
    ffmpeg("-i", path, "-map", "0:a:0", "-ar", "44100", "-ac", "2", "-c:a", "pcm_f32le", target)
    return read(target)


def video(source: Path, name: str, *arguments: str, late_seconds: float = 0) -> Path:
    """Put a song under pictures."""
    path = source.with_name(name)
    ffmpeg(*VIDEO, "-itsoffset", str(late_seconds), "-i", source, *MAPPED, *arguments, path)
    return path


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("song.flac", ()),
        ("24-96k.flac", ("-sample_fmt", "s32", "-ar", "96000")),
        ("mono-8k.flac", ("-ac", "1", "-ar", "8000")),
        ("vorbis.ogg", ("-c:a", "libvorbis")),
        ("48k.oga", ("-c:a", "libvorbis", "-ar", "48000")),
        ("opus.ogg", ("-c:a", "libopus")),
        ("song.opus", ()),
        ("flac.ogg", ("-c:a", "flac")),
        ("song.aiff", ()),
        ("24-96k.aif", ("-c:a", "pcm_s24be", "-ar", "96000")),
        ("32.aiff", ("-c:a", "pcm_s32be")),
        ("float.aifc", ("-c:a", "pcm_f32be", "-f", "aiff")),
        ("sowt.aifc", ("-c:a", "pcm_s16le", "-f", "aiff")),
        ("a-law.aifc", ("-c:a", "pcm_alaw", "-f", "aiff")),
    ],
)
def test_sound_is_ffmpegs_own(name: str, arguments: tuple[str, ...], source: Path) -> None:
    path = convert(source, name, *arguments)
    check(path, path.suffix)
    refuse_longer(path, 1)
    audio, expected = decoded(path), plain(path)
    assert len(audio) == len(expected) == pytest.approx(SAMPLES, abs=20)
    if "mono" in name:
        expected = expected * np.float32(np.sqrt(2))  # which would take 3 dB off one channel that becomes two
    assert np.abs(audio - expected).max() < (1e-6 if "mono" in name else 1e-9)
    assert audio.std() > 0.02


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("aac.mp4", ("-c:a", "aac")),
        ("first.m4v", ("-c:a", "aac", "-movflags", "+faststart")),
        ("fragments.mp4", ("-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov")),
        ("s16.mov", ("-c:a", "pcm_s16le")),
        ("s24.mov", ("-c:a", "pcm_s24be")),
        ("aac.mkv", ("-c:a", "aac")),
        ("flac.mkv", ("-c:a", "flac")),
        ("float.mkv", ("-c:a", "pcm_f32le")),
        ("layer2.mkv", ("-c:a", "mp2")),
        ("opus.webm", ("-c:v", "libvpx", "-c:a", "libopus")),
        ("vorbis.webm", ("-c:v", "libvpx", "-c:a", "libvorbis")),
    ],
)
@pytest.mark.parametrize("late_seconds", [0, 0.7])
def test_a_videos_sound_is_ffmpegs_own(
    name: str, arguments: tuple[str, ...], late_seconds: float, source: Path
) -> None:
    path = video(source, f"{late_seconds}-{name}", *arguments, late_seconds=late_seconds)
    check(path, path.suffix)
    refuse_longer(path, 1)
    audio = decoded(path)
    assert np.array_equal(audio, plain(path))
    # As of an M4A, what the video shows before its sound begins is no part of it.
    assert len(audio) == pytest.approx(SAMPLES, abs=2048)


def aiff(data: bytes, bits: int, compression: bytes, *, rate_hz: int = 44_100, channels: int = 2) -> bytes:
    """Build an AIFC file."""
    exponent = rate_hz.bit_length() - 1
    frames = len(data) // (-(-bits // 8) * channels)
    common = struct.pack(">hIhHQ", channels, frames, bits, 16_383 + exponent, rate_hz << 63 - exponent)
    chunks = [(b"FVER", b"\xa2\x80\x51\x40"), (b"COMM", common + compression + b"\0\0"), (b"SSND", bytes(8) + data)]
    body = b"AIFC" + b"".join(
        name + struct.pack(">I", len(content)) + content + bytes(len(content) % 2) for name, content in chunks
    )
    return b"FORM" + struct.pack(">I", len(body)) + body


@pytest.mark.parametrize("bits", [8, 16, 20, 24, 32])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_little_endian_aiff_of_every_width(bits: int, channels: int, tmp_path: Path) -> None:
    width = -(-bits // 8)
    numbers = np.random.default_rng(bits).integers(-(2**31), 2**31, (5001, channels)).astype("<i4")
    numbers >>= 32 - bits
    numbers <<= 32 - bits  # fewer bits than a container has are its upper ones
    little = numbers.view(np.uint8).reshape(-1, 4)[:, 4 - width :]
    results = []
    for order, compression in ((little, b"sowt"), (little[:, ::-1], b"NONE")):
        path = tmp_path / f"{compression.decode()}.aifc"
        path.write_bytes(aiff(order.tobytes(), bits, compression, channels=channels))
        check(path, "aifc")
        results.append(decoded(path))
    assert len(results[0]) == 5001 and np.array_equal(*results)
    if channels < 3:
        wanted = np.broadcast_to((numbers / 2**31).astype(np.float32), (5001, 2))
        assert np.abs(results[0] - wanted).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "codec", "bits"),
    [
        ("u.aiff", "pcm_s16be", 16),
        ("u24.aiff", "pcm_s24be", 24),
        ("u.aifc", "pcm_s16le", 16),
        ("float.aifc", "pcm_f32be", 24),
    ],
)
def test_an_aiff_whose_length_was_never_written(name: str, codec: str, bits: int, source: Path) -> None:
    path = convert(source, name, "-c:a", codec, "-f", "aiff")
    content = bytearray(path.read_bytes())
    for number in (4, content.index(b"COMM") + 10, content.index(b"SSND") + 4):  # of all bytes, frames, and their bytes
        content[number : number + 4] = bytes(4)
    path.write_bytes(content)
    check(path, path.suffix)
    refuse_longer(path, 1)
    audio = decoded(path)
    assert len(audio) == SAMPLES
    assert np.abs(audio - song(SAMPLES)).max() < 2.0 ** (2 - bits)


@pytest.mark.parametrize("name", ["flagged.flac", "flagged.mov", "float.mov", "flagged.aiff"])
def test_one_channel_keeps_its_level_whatever_place_it_is_given(name: str, source: Path) -> None:
    codec = {"flagged.mov": ("-c:a", "pcm_s24le"), "float.mov": ("-c:a", "pcm_f32le")}.get(name, ())
    path = convert(source, name, "-af", "pan=FL|c0=c0", *codec)
    check(path, path.suffix)
    audio = decoded(path)
    assert np.abs(audio - song(SAMPLES)[:, :1]).max() < 2e-5


def test_tags_around_a_flac(source: Path) -> None:
    path = convert(source, "bare.flac")
    whole = decoded(path)
    path.write_bytes(id3(bytes(300_000)) + path.read_bytes() + b"TAG" + bytes(125))
    check(path, "flac")
    assert np.array_equal(decoded(path), whole)


@pytest.mark.parametrize(
    ("codec", "seconds"), [("libvorbis", "0.5"), ("libvorbis", "1"), ("libopus", "1"), ("flac", "1")]
)
def test_a_chain_of_oggs_is_one_song(codec: str, seconds: str, source: Path) -> None:
    path = convert(source, f"{codec}-{seconds}.ogg", "-c:a", codec, "-t", seconds)
    once = decoded(path)
    path.write_bytes(path.read_bytes() * 3)
    check(path, "ogg")
    refuse_longer(path, 3)
    audio = decoded(path)
    assert np.array_equal(audio, plain(path)) and len(audio) == pytest.approx(3 * len(once), abs=1500)


def test_the_first_of_several_sound_tracks_is_taken(source: Path) -> None:
    for name, tone in (("two.mp4", "aac"), ("two.mkv", "ac3")):
        path = source.with_name(name)
        ffmpeg(*VIDEO, "-i", source, "-f", "lavfi", "-i", "sine=d=1", "-map", "0:v", "-map", "1:a", "-map", "2:a",
               "-c:v", "mpeg4", "-c:a:0", "aac", "-c:a:1", tone, path)  # fmt: skip
        check(path, path.suffix)
        assert np.array_equal(decoded(path), decoded(video(source, f"one-{name}", "-c:a", "aac")))


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv", "webm"])
def test_a_video_without_sound_is_refused_in_words(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"silent.{extension}"
    ffmpeg(*VIDEO, "-c:v", "libvpx" if extension == "webm" else "mpeg4", path)
    with pytest.raises(UnreadableAudio) as refused:
        check(path, extension)
    assert str(refused.value) == "The file holds no sound: there must be a sound track in it."


@pytest.mark.parametrize(
    ("name", "arguments", "known"),
    [
        ("dts.mkv", ("-c:a", "dca", "-strict", "-2"), "AAC, Apple Lossless, MP3, AC-3, FLAC, Opus, Vorbis or PCM"),
        ("ima4.mov", ("-c:a", "adpcm_ima_qt"), "AAC, Apple Lossless, MP3, AC-3, FLAC, Opus or PCM"),
        ("ima4.aifc", ("-c:a", "adpcm_ima_qt", "-f", "aiff"), "PCM, float, A-law or µ-law"),
        ("speex.ogg", (), "Vorbis, Opus or FLAC"),
        ("protected.mp4", PROTECTED, "AAC, Apple Lossless, MP3, AC-3, FLAC, Opus or PCM"),
    ],
)
def test_other_kinds_of_sound_are_refused_in_words(
    name: str, arguments: tuple[str, ...], known: str, source: Path
) -> None:
    path = source.with_name(name)
    if arguments:
        convert(source, name, *arguments)
    else:  # Speex, which this ffmpeg can't encode: a first page is all that one needs of it
        head = b"Speex   1.2".ljust(28) + struct.pack("<13i", 1, 80, 44_100, 0, 4, 2, -1, 640, 0, 1, 0, 0, 0)
        path.write_bytes(b"OggS\0\2" + bytes(8) + struct.pack("<II", 1, 0) + bytes(4) + bytes([1, len(head)]) + head)
    with pytest.raises(UnreadableAudio) as refused:
        check(path, path.suffix)
    kind = path.suffix[1:].upper()
    rule = f"Its first sound track must be {known}, neither damaged nor protected."
    assert str(refused.value) == f"The file holds no decodable {kind} audio. {rule}"


def test_no_decoder_of_pictures_is_ever_allowed() -> None:
    listed = subprocess.run(command("-decoders", loglevel="info"), capture_output=True, text=True, check=True).stdout
    kinds = {name: kind for kind, name in re.findall(r"^ ([VASD])\S{5} (\S+)", listed, re.MULTILINE)}
    allowed = {name for demuxer in DEMUXERS.values() for name in demuxer.decoders}
    assert {kinds[name] for name in allowed} == {"A"}
    assert {kinds["mpeg4"], kinds["png"]} == {"V"}
    assert set(API_EXTENSIONS) < set(UPLOAD_EXTENSIONS) == set(DEMUXERS)


def test_a_cover_of_a_hundred_megabytes_is_stepped_over(source: Path) -> None:
    cover = os.urandom(COVER_BYTES // 7)
    flac = convert(source, "covered.flac")
    content = flac.read_bytes()
    body = struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">6I", 0, 1000, 1000, 24, 0, len(cover)) + cover
    pictures = (b"\6" + len(body).to_bytes(3, "big") + body) * 7
    flac.write_bytes(content[:4] + b"\0" + content[5:42] + pictures + content[42:])
    picture = source.with_name("cover.bin")
    picture.write_bytes(cover * 7)
    mkv = source.with_name("attached.mkv")
    attached = ("-attach", picture, "-metadata:s:t", "mimetype=image/jpeg", "-metadata:s:t", "filename=cover.jpg")
    ffmpeg("-i", source, "-c:a", "flac", *attached, mkv)
    picture.unlink()
    for path in (flac, mkv):
        assert path.stat().st_size > COVER_BYTES * 0.99
        check(path, path.suffix)
        refuse_longer(path, 1)
        audio = decoded(path)
        path.unlink()
        assert np.array_equal(audio, decoded(convert(source, f"plain{path.suffix}", "-c:a", "flac")))


def test_a_header_that_promises_gigabytes_is_refused_at_once(source: Path) -> None:
    content = convert(source, "promise.aiff").read_bytes()
    source.with_name("promise.aiff").write_bytes(content[:12] + b"NAME" + struct.pack(">I", 0x7FFFFFF0) + content[12:])
    with pytest.raises(UnreadableAudio, match="holds no decodable AIFF audio"):
        check(source.with_name("promise.aiff"), "aiff")


def test_too_many_tracks_are_refused(source: Path) -> None:
    path = video(source, "many.mp4", "-c:a", "aac")
    root = parse(path.read_bytes())
    next(box for box in root.walk() if box.name == b"trak").times = MOST_STREAMS
    path.write_bytes(root.content())
    with pytest.raises(UnreadableAudio):
        check(path, "mp4")


def test_a_movie_opens_no_other_file(source: Path) -> None:
    """A track's samples may be said to lie in another file, which ffmpeg reads if it is asked to."""
    secret = source.with_name("secret.raw")
    secret.write_bytes(b"\x40\x20" * 400_000)
    path = convert(source, "referring.mov", "-c:a", "pcm_s16le")
    root = parse(path.read_bytes())
    name = secret.name.encode()
    record = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    record += struct.pack(">hh", 2, len(name)) + name + bytes(len(name) % 2) + struct.pack(">hh", -1, 0)
    record = record.ljust(160, b"\0")
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    root.find(b"dref").payload = struct.pack(">II", 0, 1) + alias
    path.write_bytes(root.content())
    followed = source.with_name("followed.f32")
    ffmpeg("-enable_drefs", "1", "-i", path, "-f", "f32le", followed)
    assert np.abs(np.fromfile(followed, "<f4")[100:1000] - 0x2040 / 32768).max() < 1e-6
    for open_it in (lambda: check(path, "mov"), lambda: decoded(path)):
        with pytest.raises(UnreadableAudio, match="no decodable"):
            open_it()


def test_milliseconds_do_not_add_up_to_a_longer_file(tmp_path: Path) -> None:
    path = tmp_path / "clicks.mkv"  # Vorbis answers clicks with blocks of 2.67 ms, which Matroska calls 3
    clicks = "aevalsrc=random(0)*lt(mod(t\\,0.01)\\,0.0005):s=48000:d=10"
    ffmpeg("-f", "lavfi", "-i", clicks, "-c:a", "libvorbis", path)
    check(path, "mkv")
    refuse_longer(path, 10)
    with pytest.raises(UnreadableAudio, match="longer than 7 seconds"):
        refuse_longer(path, 7)
