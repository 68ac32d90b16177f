"""Hostile files made up whole: what no random change of an honest file would hit upon."""

import random
import struct
import zlib
from collections.abc import Iterator

from tests.support.boxes import Box, box, parse
from tests.support.frames import ape, frames, id3, lyrics, synchsafe
from tests.support.ogg import sealed

Crafted = tuple[str, str, bytes]  # class, extension, content
GIANT = 0xFFFFFFFF
HOUR_SECONDS = 3600
# One file of each kind beside MP3, WAV and M4A.
KINDS = (
    *("plain.flac", "vorbis.ogg", "flac.oga", "plain.opus", "s24.aiff", "float.aifc", "sowt.aif"),
    *("aac.mp4", "pcm.mov", "aac.mkv", "opus.webm"),
)
SCRIPTS = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/secret.mp3\n",
    b"ffconcat version 1.0\nfile '/etc/passwd'\nfile 'http://127.0.0.1:9/x'\n",
    b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>file:///etc/</BaseURL></MPD>",
    b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><smil><body><audio src='&a;'/></body></smil>",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    b"1\n00:00:00,000 --> 99:00:00,000\n<img src='file:///etc/passwd'>\n",
    b"[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,9:00:00.00,,,,,,,x\n",
    b"WEBVTT\n\n00:00.000 --> 99:00.000\nx\n",
    b";FFMETADATA1\ntitle=x\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=999999999\n",
    b"[playlist]\nFile1=/etc/passwd\nNumberOfEntries=1\n",
    b"data:audio/wav;base64,UklGRg==",
    b"subfile,,start,0,end,0,,:/etc/passwd",
    b"#!/bin/sh\ntouch /tmp/owned\n",
)


def all_of(files: dict[str, bytes], dice: random.Random) -> list[Crafted]:
    """Make every crafted file, in the order of the dice."""
    made = [*_scripts(files), *_waves(dice), *_mp3s(files, dice), *_m4as(files), *_polyglots(files)]
    made += [*_heads(files, dice), *_changes(files, dice), *_renamed(files), *_headers(files), *_counts(files)]
    dice.shuffle(made)
    return made


def _scripts(files: dict[str, bytes]) -> Iterator[Crafted]:
    starts = {"mp3": files["bare.mp3"][:1000], "wav": files["s16.wav"][:44], "m4a": b"\0\0\0\x14ftypM4A \0\0\0\0M4A "}
    for extension, start in starts.items():
        for script in SCRIPTS:
            yield "script", extension, script
            yield "script", extension, start + script


def wave(
    data: bytes, *, channels: int = 2, rate_hz: int = 44_100, bits: int = 16, code: int = 1, mask: int | None = None,
    align: int | None = None, name: bytes = b"RIFF", size: int | None = None, before: bytes = b"",
) -> bytes:  # fmt: skip
    """Build a WAVE file whose header says what it is told to."""
    order = ">" if name == b"RIFX" else "<"
    align = channels * bits // 8 & 0xFFFF if align is None else align
    fmt = struct.pack(
        f"{order}HHIIHH", code if mask is None else 0xFFFE, channels, rate_hz, rate_hz * align & GIANT, align, bits
    )
    if mask is not None:
        fmt += struct.pack(f"{order}HHIH", 22, bits, mask, code) + bytes.fromhex("000000001000800000aa00389b71")
    chunks = b"WAVE" + before + b"fmt " + struct.pack(f"{order}I", len(fmt)) + fmt
    chunks += b"data" + struct.pack(f"{order}I", len(data) if size is None else size) + data
    return name + struct.pack(f"{order}I", len(chunks) if size is None else size) + chunks


def _waves(dice: random.Random) -> Iterator[Crafted]:
    data = dice.randbytes(12_000)
    for rate_hz in (0, 1, 2, 100, 3999, 384_000, 768_000, 0x7FFFFFFF, 0x80000000, GIANT):
        yield "wav-rate", "wav", wave(data, rate_hz=rate_hz)
    for channels in (0, 1, 3, 6, 8, 9, 16, 64, 255, 512, 65_535):
        yield "wav-channels", "wav", wave(data, channels=channels)
        yield "wav-channels", "wav", wave(data, channels=channels, mask=dice.choice((0, 1, 0x3F, GIANT)))
    for bits in (0, 1, 7, 8, 12, 24, 32, 64, 255, 65_535):
        yield "wav-bits", "wav", wave(data, bits=bits)
        yield "wav-bits", "wav", wave(data, bits=bits, code=3)
    for code in (0, 2, 6, 7, 0x11, 0x16, 0x50, 0x55, 0xFF, 0x161, 0x1610, 0x2000, 0xA106, 0xF1AC, 0xFFFF):
        for align in (0, 1, 36, 0xFFFF):
            yield "wav-codec", "wav", wave(data, code=code, align=align)
    for name in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"RIFF\0"):
        for size in (0, 1, 0x7FFFFFFF, GIANT):
            yield "wav-size", "wav", wave(data, name=name, size=size)
    for sizes in ((0, 0, 0), (1 << 63, 1 << 63, 1 << 63), ((1 << 64) - 1,) * 3, (100, 1 << 62, 5)):
        ds64 = b"ds64" + struct.pack("<IQQQI", 28, *sizes, dice.choice((0, GIANT)))
        yield "wav-size", "wav", wave(data, name=b"RF64", size=GIANT, before=ds64)
    many = b"".join(b"junk" + struct.pack("<I", 0) for _ in range(50_000))
    yield "wav-chunks", "wav", wave(data, before=many)
    yield "wav-chunks", "wav", wave(data, before=b"LIST" + struct.pack("<I", GIANT))
    yield "wav-chunks", "wav", wave(data, before=b"bext" + struct.pack("<I", 0x7FFFFFF0))
    yield "wav-chunks", "wav", wave(data, before=b"fmt " + struct.pack("<I", 0))
    yield "wav-chunks", "wav", wave(b"", size=GIANT)
    w64 = bytes.fromhex("726966662e91cf11a5d628db04c10000") + struct.pack("<Q", 1 << 60)
    yield "wav-size", "wav", w64 + bytes.fromhex("77617665f3acd3118cd100c04f8edb8a") + data
    yield "silence", "wav", wave(bytes(3 * HOUR_SECONDS // 2), channels=1, rate_hz=1, bits=8)
    yield "silence", "wav", wave(bytes(12_000), channels=1, rate_hz=1, bits=8)


def _frame(name: bytes, body: bytes, flags: int = 0, size: int | None = None) -> bytes:
    return name + synchsafe(len(body) if size is None else size) + flags.to_bytes(2, "big") + body


def _mp3s(files: dict[str, bytes], dice: random.Random) -> Iterator[Crafted]:
    bare, vbr = files["bare.mp3"], files["vbr.mp3"]
    bomb = zlib.compress(b"\0image/png\0\3\0" + bytes(40 << 20), 9)
    compressed = _frame(b"APIC", synchsafe((1 << 28) - 1) + bomb, 0x09)
    yield "id3-bomb", "mp3", id3(compressed) + bare
    yield "id3-bomb", "mp3", id3(compressed * 40) + bare
    yield "id3-bomb", "mp3", id3(_frame(b"APIC", b"\0image/png\0\3\0" + dice.randbytes(3 << 20))) + bare
    yield "id3-bomb", "mp3", id3(_frame(b"APIC", b"\0image/png\0\3\0\x89PNG\r\n\x1a\n") * 3000) + bare
    yield "id3-bomb", "mp3", id3(_frame(b"TXXX", b"\3a\0b") * 20_000) + bare
    yield "id3-bomb", "mp3", id3(_frame(b"CHAP", b"c\0" + struct.pack(">IIII", 0, GIANT, 0, 0)) * 5000) + bare
    yield "id3-bomb", "mp3", id3() * 20_000 + bare
    for size in (0, 1, 0x0FFFFFFF):
        for version in (0, 2, 3, 4, 255):
            flags = dice.choice((0, 0xFF))
            yield "id3-size", "mp3", id3(_frame(b"TIT2", b"\3x"), version=version, size=size, flags=flags) + bare
        yield "id3-size", "mp3", id3(_frame(b"GEOB", b"\0" * 50, size=size)) + bare
    at = max(vbr.find(b"Xing"), vbr.find(b"Info"))
    for flags in (0, 1, 2, 3, 7, 15, GIANT):
        for number in (0, 1, 0x7FFFFFFF, GIANT):
            yield "xing", "mp3", vbr[: at + 4] + struct.pack(">III", flags, number, number) + vbr[at + 16 :]
    yield "xing", "mp3", vbr[:at] + b"VBRI" + struct.pack(">HHHII", 1, 0, 100, 100, GIANT) + vbr[at + 18 :]
    # MPEG-2.5 at 8 kHz and 8 kbit/s, whose frames of 72 bytes say nothing: a thousandth of a song's bytes.
    yield "silence", "mp3", (b"\xff\xe3\x18\xc4" + bytes(68)) * 3000
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, GIANT, GIANT, 0) + bytes(8)
    yield "id3-bomb", "mp3", bare + b"TAG" + b"\xff" * 125 + ape


def _heads(files: dict[str, bytes], dice: random.Random) -> Iterator[Crafted]:
    """Put before and after honest sound what players step over, and what only looks so."""
    picture, frame = b"\x89PNG\r\n\x1a\n" + dice.randbytes(20_000), next(frames(files["bare.mp3"]))
    icy, http = b"ICY 200 OK\r\nicy-br:128\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n"
    heads = [
        *(id3(picture, size=100), id3(size=20_000), ape(picture), ape(picture)[:-32], icy, http, http + id3(picture)),
        *(id3() * 100_000, ape() * 50_000, (id3() + ape()) * 20_000, id3(icy) * 3000, lyrics(picture), b"TAG" * 50),
        *(b"\xff\xfb\x90\x64" * 300_000, frame[:200] * 5000, frame * 2 + picture),
        *(dice.randbytes(1 << 20), bytes(2 << 20)),
        *(b"APETAGEX" + struct.pack("<IIII", 2000, size, GIANT, GIANT) + bytes(8) for size in (0, 31, 1 << 31, GIANT)),
        *(wave(b"", code=code, size=size) for code in (0x50, 0x55) for size in (0, 1, GIANT)),
    ]
    for head in heads:
        for name in ("bare.mp3", "vbr.mp3"):
            yield "head", "mp3", head + files[name]
            yield "tail", "mp3", files[name] + head
        yield "head", "wav", head + files["s16.wav"]
        yield "head", "m4a", head + files["aac.m4a"]
        yield "head", "mp3", head
    for content in (files["vbr.mp3"], files["bare.mp3"][100:], id3(picture) + files["vbr.mp3"], dice.randbytes(5000)):
        for code in (0x50, 0x55):
            yield "mp3-in-wav", "wav", wave(content, code=code, align=1)
            yield "mp3-in-wav", "mp3", wave(content, code=code, align=0, size=dice.choice((1, 5000, GIANT)))
    for digits in (b"000000", b"999999", b"99999x"):
        yield "tail", "mp3", files["vbr.mp3"] + b"LYRICSBEGIN" + digits + b"LYRICS200"


def _changes(files: dict[str, bytes], dice: random.Random) -> Iterator[Crafted]:
    """Change layer, rate and channels from frame to frame, leave gaps, and lie about the bits that count."""
    songs = [list(frames(files[name])) for name in ("bare.mp3", "bare-mono-48k.mp3", "bare-22k.mp3", "layer2.mp3")]
    for length in (1, 2, 3, 10):
        turns = [songs[turn % 4][turn % 8 : turn % 8 + length] for turn in range(400 // length)]
        yield "changes", "mp3", b"".join(b"".join(turn) for turn in turns)
        yield "changes", "mp3", b"".join(b"".join(turn) + dice.randbytes(50) for turn in turns)
        yield "changes", "wav", wave(b"".join(b"".join(turn) for turn in turns), code=0x55, align=1)
    second = 44_100
    for delta in (second, 60 * second, HOUR_SECONDS * second, 20 * HOUR_SECONDS * second, 0x7FFFFFFF, GIANT):
        root = parse(files["aac.m4a"])
        root.find(b"stts").payload = struct.pack(">IIIIIIII", 0, 3, 5, 1024, 1, delta, 9, 1024)
        yield "m4a-gap", "m4a", root.content()
        root.find(b"stts").payload = struct.pack(">IIII", 0, 1, 15, delta)
        yield "m4a-gap", "m4a", root.content()
    data = dice.randbytes(12_000)
    for bits in (8, 16, 24, 32, 64):
        for valid_bits in (0, 1, 7, 12, 20, 24, 255, 65_535):
            content = wave(data, bits=bits, code=dice.choice((1, 3)), mask=3)
            at = content.index(b"fmt ") + 26
            yield "wav-valid-bits", "wav", content[:at] + struct.pack("<H", valid_bits) + content[at + 2 :]


def _m4as(files: dict[str, bytes]) -> Iterator[Crafted]:
    def changed(change, name: str = "aac.m4a") -> bytes:  # type: ignore[no-untyped-def]
        root = parse(files[name])
        change(root)
        return root.content()

    def table(name: bytes, payload: bytes) -> bytes:
        def change(root: Box) -> None:
            root.find(name).payload = payload

        return changed(change)

    def word(name: bytes, at: int, value: int) -> bytes:
        def change(root: Box) -> None:
            found = root.find(name)
            found.payload = found.payload[:at] + value.to_bytes(4, "big") + found.payload[at + 4 :]

        return changed(change)

    def times(name: bytes, count: int) -> bytes:
        def change(root: Box) -> None:
            root.find(name).times = count

        return changed(change)

    for count in (64, 65, 1000, 3000):
        yield "m4a-streams", "m4a", times(b"trak", count)
    yield "m4a-streams", "m4a", times(b"stsd", 2000)
    yield "m4a-streams", "m4a", times(b"moov", 500)
    day = 24 * HOUR_SECONDS * 44_100
    for count, delta in ((1, 0), (1, GIANT), (GIANT, 1), (GIANT, GIANT), (10, day // 10), (0x7FFFFFFF, 1024)):
        yield "m4a-times", "m4a", table(b"stts", struct.pack(">IIII", 0, 1, count, delta))
    yield "m4a-times", "m4a", table(b"stts", struct.pack(">II", 0, GIANT))
    for scale in (0, 1, 0x7FFFFFFF, GIANT):
        yield "m4a-times", "m4a", word(b"mdhd", 12, scale)
        yield "m4a-times", "m4a", word(b"mvhd", 12, scale)
        yield "m4a-times", "m4a", word(b"mdhd", 16, scale)
    hours = 36_000_000
    for duration, start in ((GIANT, 0), (hours, 0), (1, GIANT), (0, 0), (hours, GIANT - 1), (1000, 0x7FFFFFFF)):
        entries = struct.pack(">IIIHH", 0, 1, duration, 0, 0) + struct.pack(">IHH", start, 1, 0)
        yield "m4a-edits", "m4a", table(b"elst", entries)
        many = struct.pack(">II", 0, 3000) + struct.pack(">IiHH", duration, 0, 1, 0) * 3000
        yield "m4a-edits", "m4a", table(b"elst", many)
    yield "m4a-edits", "m4a", table(b"elst", struct.pack(">II", 0, GIANT))
    for size, count in ((1, GIANT), (100, 0x10000000), (0, GIANT), (GIANT, 3), (0x7FFFFFFF, 2), (400, 500_000)):
        yield "m4a-sizes", "m4a", table(b"stsz", struct.pack(">III", 0, size, count))
    for name in (b"stco", b"stsc"):
        yield "m4a-sizes", "m4a", table(name, struct.pack(">II", 0, GIANT))
        yield "m4a-sizes", "m4a", table(name, struct.pack(">IIIII", 0, 1, 1, GIANT, 1))
        yield "m4a-sizes", "m4a", table(name, struct.pack(">II", 0, 1) + struct.pack(">III", GIANT, GIANT, GIANT))
    for offset in range(0, 40, 2):
        yield "m4a-codec", "m4a", word(b"stsd", 16 + offset, GIANT)
    bomb = zlib.compress(bytes(60 << 20), 9)
    cmov = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", struct.pack(">I", GIANT), bomb))
    start = b"\0\0\0\x14ftypM4A \0\0\0\0M4A "
    yield "m4a-nest", "m4a", start + box(b"moov", cmov)
    for name in (b"moov", b"trak", b"udta", b"meta"):
        nested = b""
        for _ in range(2000):
            nested = box(name, nested)
        yield "m4a-nest", "m4a", start + nested
    yield "m4a-nest", "m4a", start + box(b"moof", b"") * 30_000
    yield "m4a-nest", "m4a", start + b"\0\0\0\1mdat" + b"\xff" * 8 + files["aac.m4a"][-2000:]
    yield "silence", "m4a", _reused(files["aac.m4a"], 3 * HOUR_SECONDS)
    yield "silence", "m4a", _reused(files["alac.m4a"], HOUR_SECONDS)


def _reused(content: bytes, seconds: int) -> bytes:
    """Let an M4A's first packet be played for hours: its chunk is named again and again."""
    root = parse(content)
    constant, size, _, *sizes = struct.unpack_from(">IIII", root.find(b"stsz").payload)
    count = seconds * 44_100 // (4096 if b"alac" in content else 1024)
    chunk = struct.unpack_from(">III", root.find(b"stco").payload)[2]
    root.find(b"stsz").payload = struct.pack(">III", constant, size or sizes[0], count)
    root.find(b"stsc").payload = struct.pack(">IIIII", 0, 1, 1, 1, 1)
    root.find(b"stts").payload = struct.pack(">IIII", 0, 1, count, 4096 if b"alac" in content else 1024)
    root.find(b"stco").payload = struct.pack(">II", 0, count) + struct.pack(">I", chunk) * count
    root.find(b"edts").times = 0
    return root.content()


def _renamed(files: dict[str, bytes]) -> Iterator[Crafted]:
    for name in KINDS:
        for other in {each.rpartition(".")[2]: each for each in KINDS}:
            if not name.endswith(other):
                yield "renamed", other, files[name]


def _headers(files: dict[str, bytes]) -> Iterator[Crafted]:
    for name in KINDS:
        extension = name.rpartition(".")[2]
        for size_bytes in (0, 1, 4, 12, 28, 42, 64, 200):
            yield "header-only", extension, files[name][:size_bytes]
        yield "header-only", extension, files[name][:64] + bytes(3000)
        yield "script", extension, files[name][:64] + SCRIPTS[0]
        yield "script", extension, SCRIPTS[2]


def _counts(files: dict[str, bytes]) -> Iterator[Crafted]:
    """Let what is counted in the headers be absurd: blocks, pages, chunks, elements."""
    flac, ogg, aiff, matroska = (files[name] for name in ("plain.flac", "vorbis.ogg", "s24.aiff", "aac.mkv"))
    for kind in (1, 2, 3, 4, 6, 126):
        yield "flac-blocks", "flac", flac[:42] + (bytes([kind]) + b"\0\0\0") * 50_000 + flac[42:]
        yield "flac-blocks", "flac", flac[:42] + bytes([kind]) + b"\xff\xff\xff" + flac[46:]
    for offset in range(8, 26, 2):
        yield "flac-info", "flac", flac[:offset] + b"\xff\xff" + flac[offset + 2 :]
    picture = struct.pack(">II", 3, GIANT) + bytes(24)
    yield "flac-picture", "flac", flac[:42] + b"\6\0\0\x20" + picture + flac[42:]
    picture = struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">6I", 0, 1, 1, 1, 0, 400_000_000)
    yield "flac-picture", "flac", flac[:42] + b"\6" + len(picture).to_bytes(3, "big") + picture + flac[42:]
    for times in (2, 100):
        yield "ogg-chain", "ogg", ogg * times
    yield "ogg-chain", "ogg", ogg + files["plain.opus"] + files["flac.oga"]
    first = ogg[: 28 + 30]
    for serials in (100, 5000):
        heads = (first[:14] + struct.pack("<I", serial) + first[18:] for serial in range(serials))
        yield "ogg-streams", "ogg", sealed(b"".join(heads) + ogg)
    for granule in (-1, -(1 << 63), (1 << 63) - 1, 1 << 40):
        at = ogg.rindex(b"OggS") + 6
        yield "ogg-granule", "ogg", sealed(ogg[:at] + struct.pack("<q", granule) + ogg[at + 8 :])
    at = aiff.index(b"COMM") + 8
    for channels, bits in ((0, 24), (1, 0), (64, 24), (65_535, 8), (2, 1), (2, 65_535)):
        common = struct.pack(">H", channels) + aiff[at + 2 : at + 6] + struct.pack(">H", bits)
        yield "aiff-common", "aiff", aiff[:at] + common + aiff[at + 8 :]
        little = aiff[:at] + common + aiff[at + 8 : at + 18] + b"sowt" + aiff[at + 18 :]
        yield "aiff-common", "aifc", (little[: at - 4] + struct.pack(">I", 22) + little[at:]).replace(b"AIFF", b"AIFC")
    for rate in (b"\0" * 10, b"\xff" * 10, b"\x40\x00\x80" + bytes(7), b"\x40\x3e\xff" + bytes(7)):
        yield "aiff-rate", "aiff", aiff[: at + 8] + rate + aiff[at + 18 :]
    for name in (b"NAME", b"ID3 ", b"wave", b"CHAN", b"SSND", b"COMM", b"APCM"):
        for size_bytes in (0, 0x7FFFFFF0, GIANT):
            yield "aiff-chunks", "aiff", aiff[:12] + name + struct.pack(">I", size_bytes) + aiff[12:]
    yield "aiff-chunks", "aiff", aiff[:12] + (b"ANNO" + bytes(4)) * 100_000 + aiff[12:]
    for identity in (b"\x1a\x45\xdf\xa3", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"\xae"):
        at = matroska.find(identity) + len(identity)
        for size in (b"\xff", b"\x01" + b"\xff" * 7, b"\x08\x7f\xff\xff\xff", b"\x80"):
            yield "mkv-sizes", "mkv", matroska[:at] + size + matroska[at + len(size) :]
    at = matroska.find(b"\x16\x54\xae\x6b")
    nested = b"\xae\x01" + b"\xff" * 7
    yield "mkv-nest", "mkv", matroska[:at] + nested * 5000 + matroska[at:]
    # Places to seek, attachments, cues, chapters.
    for magic in (b"\x53\xab", b"\x61\xa7", b"\x1c\x53\xbb\x6b", b"\x10\x43\xa7\x70"):
        element = magic + b"\x84" + b"\xff" * 4
        yield "mkv-index", "mkv", matroska[:at] + element * 20_000 + matroska[at:]


def _polyglots(files: dict[str, bytes]) -> Iterator[Crafted]:
    parts = {name: files[name] for name in ("s16.wav", "bare.mp3", "aac.m4a", "covered.mp3")}
    magic = {"png": b"\x89PNG\r\n\x1a\n", "zip": b"PK\3\4", "pdf": b"%PDF-1.7\n", "ogg": b"OggS", "flac": b"fLaC"}
    parts |= {name: start + bytes(200) for name, start in magic.items()} | {"html": b"<script>alert(1)</script>"}
    for first in parts.values():
        for second in parts.values():
            if first is not second:
                for extension in ("mp3", "wav", "m4a"):
                    yield "polyglot", extension, first + second
