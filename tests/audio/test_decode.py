"""What an upload may hold, and what comes out of it: blocks of float stereo at 44,100 Hz."""

import signal
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio.decode import check, decode
from ezstems.audio.kinds import DEMUXERS
from ezstems.errors import DecodingFailed, UnreadableAudio
from tests.support.audio_files import convert, ffmpeg, song, write_wav
from tests.support.clocks import worked_seconds

SECONDS = 2
SAMPLES = SECONDS * 44_100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audio")


@pytest.fixture(scope="module")
def wav(folder: Path) -> Path:
    return write_wav(folder / "song.wav", song(SAMPLES))


@pytest.fixture(scope="module")
def mp3(wav: Path) -> Path:
    return convert(wav, "song.mp3", "-b:a", "128k")


@pytest.fixture(scope="module")
def m4a(wav: Path) -> Path:
    return convert(wav, "song.m4a", "-c:a", "aac")


@pytest.fixture(scope="module")
def cover(folder: Path) -> Path:
    """Return a PNG of 3 MB that doesn't compress, as the cover art of some files is."""
    path = folder / "cover.png"
    noise = ("-f", "lavfi", "-i", "nullsrc=s=1024x1024,format=rgb24,noise=alls=100:allf=t")
    ffmpeg(*noise, "-frames:v", "1", path)
    assert path.stat().st_size > 2_000_000
    return path


def decoded(path: Path, block_samples: int = 30_000) -> np.ndarray:
    with decode(path, block_samples=block_samples) as decoding:
        blocks = list(decoding)
    assert all(block.dtype == np.float32 and len(block) == block_samples for block in blocks[:-1])
    return np.concatenate(blocks)


def wav_bytes(data: bytes, channels: int = 2, bits: int = 16, code: int = 1, rate_hz: int = 44_100) -> bytes:
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * frame, frame, bits)
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


# But for those of the other byte order, and two that ffmpeg can't encode.
WAV_CODECS = [
    codec
    for codec in DEMUXERS["wav"].decoders
    if codec.startswith("pcm_") and not codec.endswith(("be", "_f16le", "_f24le"))
]
NOISE = np.random.default_rng(5).bytes(400_000)


@pytest.mark.parametrize("extension", sorted(DEMUXERS))
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\xff",
        b"\0" * 100_000,
        b"\xff" * 100_000,
        NOISE,
        NOISE[:1000],
        b"ID3\4\0\0\0\0\1\0" + NOISE,
        b"The quick brown fox\n" * 5000,
        b"\x89PNG\r\n\x1a\n" + NOISE,
        b"\xff\xd8\xff\xe0\0\x10JFIF\0" + NOISE,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"PK\3\4" + NOISE,
        wav_bytes(b""),
    ],
    ids=[
        *("empty", "zero", "ff", "zeros", "ones", "noise", "short-noise", "id3-noise", "text"),
        *("png", "jpeg", "hls", "concat", "dash", "zip", "empty-wav"),
    ],
)
def test_check_refuses(content: bytes, extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"upload.{extension}"
    path.write_bytes(content)
    with pytest.raises(UnreadableAudio) as refused:
        check(path, extension)
    assert str(tmp_path) not in str(refused.value)


def test_check_refuses_noise_of_any_kind(tmp_path: Path) -> None:
    path, random = tmp_path / "noise.mp3", np.random.default_rng(11)
    for size in range(1, 6000, 97):
        path.write_bytes(random.bytes(size))
        with pytest.raises(UnreadableAudio):
            check(path, "mp3")


# A file of one may be called as the others of its line.
FAMILIES = (
    *({"mp3"}, {"wav"}, {"flac"}, {"ogg", "oga", "opus"}, {"aiff", "aif", "aifc"}),
    *({"m4a", "mp4", "m4v", "mov"}, {"mkv", "webm"}),
)


@pytest.mark.parametrize(
    "kind", ["wav", "mp3", "m4a", "ogg", "opus", "flac", "aiff", "mov", "mkv", "aac", "mp4", "png"]
)
def test_check_wants_the_content_that_the_extension_names(kind: str, wav: Path, cover: Path, tmp_path: Path) -> None:
    source = tmp_path / f"song.{kind}"
    if kind == "mp4":  # a video without sound
        ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64", source)
    elif kind == "png":
        source.write_bytes(cover.read_bytes())
    else:
        ffmpeg("-i", wav, source)
    assert set().union(*FAMILIES) == set(DEMUXERS)
    family = next((each for each in FAMILIES if kind in each and kind != "mp4"), set())
    for extension in DEMUXERS:
        if extension in family:
            check(source, extension)
        else:
            with pytest.raises(UnreadableAudio):
                check(source, extension)


def test_check_refuses_mp3_in_another_container(mp3: Path) -> None:
    path = convert(mp3, "wrapped.mp4", "-c:a", "copy")
    with pytest.raises(UnreadableAudio):
        check(path.rename(path.with_suffix(".mp3")), "mp3")


def test_check_refuses_noise_in_a_wav_named_mp3(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp3"
    path.write_bytes(wav_bytes(NOISE))
    with pytest.raises(UnreadableAudio):
        check(path, "mp3")
    check(path.rename(tmp_path / "noise.wav"), "wav")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((f"{codec}.wav", ("-c:a", codec)) for codec in WAV_CODECS),
        ("adpcm.wav", ("-c:a", "adpcm_ms")),
        ("mp3-inside.wav", ("-c:a", "libmp3lame")),
        ("ac3-inside.m4a", ("-c:a", "ac3")),
        ("rf64.wav", ("-rf64", "always")),
        ("8k.wav", ("-ar", "8000")),
        ("192k.wav", ("-ar", "192000", "-c:a", "pcm_s24le")),
        ("mono.wav", ("-ac", "1")),
        ("surround.wav", ("-ac", "6", "-c:a", "pcm_s24le")),
        ("8k.mp3", ("-ar", "8000", "-b:a", "8k")),
        ("22k-mono.mp3", ("-ar", "22050", "-ac", "1", "-b:a", "32k")),
        ("320k.mp3", ("-b:a", "320k")),
        ("vbr.mp3", ("-q:a", "4")),
        ("without-tags.mp3", ("-write_xing", "0", "-id3v2_version", "0")),
        ("alac.m4a", ("-c:a", "alac")),
        ("moov-first.m4a", ("-c:a", "aac", "-movflags", "+faststart")),
        ("fragments.m4a", ("-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov")),
        ("brief.mp3", ("-t", "0.02")),
        ("brief.m4a", ("-t", "0.02")),
        ("brief.wav", ("-t", "0.0001")),
    ],
)
def test_check_and_decode_accept(name: str, arguments: tuple[str, ...], wav: Path, folder: Path) -> None:
    path = convert(wav, name, *arguments)
    started = worked_seconds()
    check(path, path.suffix[1:].upper())
    assert worked_seconds() - started < 5  # 0.1 s
    audio = decoded(path)
    if not name.startswith("brief"):
        assert abs(len(audio) - SAMPLES) < 3000
        assert audio.std() > 0.02


@pytest.mark.parametrize("kind", ["mp3", "m4a"])
def test_cover_art_is_no_obstacle(kind: str, wav: Path, cover: Path) -> None:
    art = ("-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v", "attached_pic")
    path = convert(wav, f"covered.{kind}", "-i", cover, *art)
    check(path, kind)
    plain = convert(wav, f"plain.{kind}")
    assert np.array_equal(decoded(path), decoded(plain))


def test_tags_and_padding_before_the_frames(mp3: Path, tmp_path: Path) -> None:
    frames = mp3.read_bytes()
    size = 6_000_000
    tag = b"ID3\4\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    for number, head in enumerate((tag + bytes(size), bytes(5000), NOISE[:1000].replace(b"\xff", b"\0"))):
        path = tmp_path / f"{number}.mp3"
        path.write_bytes(head + frames)
        check(path, "mp3")
        assert len(decoded(path)) >= SAMPLES


def test_truncated_mp3_decodes_as_far_as_it_goes(mp3: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.mp3"
    path.write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 2])
    check(path, "mp3")
    assert 0.4 * SAMPLES < len(decoded(path)) < 0.6 * SAMPLES


def test_damaged_middle_is_passed_over(mp3: Path, tmp_path: Path) -> None:
    content = bytearray(mp3.read_bytes())
    content[12_000:14_000] = NOISE[:2000]
    path = tmp_path / "damaged.mp3"
    path.write_bytes(content)
    check(path, "mp3")
    assert len(decoded(path)) > 0.8 * SAMPLES


def test_float_stereo_is_not_touched(wav: Path) -> None:
    assert np.array_equal(decoded(wav), song(SAMPLES))


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "pcm_f32le"])
@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_mono_keeps_its_level_on_both_channels(codec: str, rate_hz: int, folder: Path) -> None:
    tone = (0.5 * np.sin(np.arange(2 * rate_hz) * 2 * np.pi * 441 / rate_hz)).astype(np.float32)[:, None]
    source = write_wav(folder / "tone.wav", tone, rate_hz)
    audio = decoded(convert(source, "tone-mono.wav", "-c:a", codec))
    assert np.array_equal(audio[:, 0], audio[:, 1])
    assert abs(np.abs(audio[5000:-5000]).max() - 0.5) < 1e-4


def test_surround_is_mixed_down_below_full_scale(folder: Path) -> None:
    loud = np.repeat(0.99 * np.sign(song(44_100, channels=1)), 6, axis=1)
    audio = decoded(write_wav(folder / "loud.wav", loud))
    assert 0.9 < np.abs(audio).max() <= 1.0


def test_what_is_no_number_becomes_silence(folder: Path) -> None:
    audio = song(50_000)
    audio[1000], audio[2000, 0], audio[3000, 1], audio[4000] = np.nan, np.inf, -np.inf, 1e30
    result = decoded(write_wav(folder / "nan.wav", audio))
    assert np.isfinite(result).all()
    assert not result[1000].any() and result[2000, 0] == 0 and result[3000, 1] == 0
    untouched = np.isfinite(audio) & (np.abs(audio) < 10)
    assert np.array_equal(result[untouched], audio[untouched])


def test_names_are_neither_options_nor_protocols(wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-i.wav", "http:x.wav", "pipe:0.wav", "%03d.wav", "a'b \"c\n.wav"):
        path = Path(name)
        path.write_bytes(wav.read_bytes())
        check(path, "wav")
        assert len(decoded(path)) == SAMPLES


def test_nothing_decodable_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.write_bytes(wav_bytes(b""))
    with pytest.raises(UnreadableAudio), decode(path, block_samples=1000) as decoding:
        next(decoding)
    with pytest.raises(UnreadableAudio, match="txt"):
        decode(tmp_path / "a.txt", block_samples=1000)


def test_duration_is_the_headers(mp3: Path) -> None:
    with decode(mp3, block_samples=1000) as decoding:
        next(decoding)
        assert decoding.duration_seconds == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_decoder_is_no_end_of_the_file(number: signal.Signals, folder: Path) -> None:
    minute = write_wav(folder / "minute.wav", song(60 * 44_100))
    with decode(minute, block_samples=4096) as decoding:
        next(decoding)
        decoding._child.process.send_signal(number)
        with pytest.raises(DecodingFailed, match="killed"):
            for _ in decoding:
                pass


def test_close_in_the_middle_leaves_nothing(folder: Path) -> None:
    source = write_wav(folder / "long.wav", np.zeros((5_000_000, 2), np.float32))
    before = set(threading.enumerate())
    with decode(source, block_samples=10_000) as decoding:
        next(decoding)
        child = decoding._child.process
        assert child.poll() is None and len(set(threading.enumerate()) - before) == 2
    assert child.returncode is not None and set(threading.enumerate()) <= before
    assert not list(decoding)
