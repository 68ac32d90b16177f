"""HE-AAC, with and without parametric stereo, and xHE-AAC: the whole band, at the full rate, in every signalling.

`cases/` holds the first second of `audio_files.song` in each: ffmpeg can decode, but not encode them.
"""

from pathlib import Path

import numpy as np
import pytest

from ezstems.audio.decode import check
from tests.audio.test_decode import decoded
from tests.support.audio_files import song
from tests.support.boxes import parse

CASES = Path(__file__).with_name("cases")
SAMPLES = 44_100


def explicit(content: bytes) -> bytes:
    """Let an M4A name its band replication (object type 5, 44,100 Hz over 22,050), which its frames alone betray."""
    root = parse(content)
    box = root.find(b"stsd")
    config = (5 << 27 | 7 << 23 | 2 << 19 | 4 << 15 | 2 << 10).to_bytes(4, "big")
    before, mark, after = box.payload.partition(b"\5\x80\x80\x80\2")
    payload = bytearray(before + mark[:-1] + b"\4" + config + after[2:])
    for last_of_a_size in (
        *(payload.index(name) - 1 for name in (b"mp4a", b"esds")),
        *(payload.index(tag) + 4 for tag in (b"\3\x80\x80\x80", b"\4\x80\x80\x80")),
    ):
        payload[last_of_a_size] += 2
    box.payload = bytes(payload)
    return root.content()


@pytest.mark.parametrize(
    ("name", "is_explicit", "samples", "delay", "likeness"),
    [
        # Frames of 2,048 samples; without an edit list, what the encoder put before the sound stays.
        ("he-aac.m4a", False, 25 * 2048, 5057, 0.85),
        ("he-aac.m4a", True, 25 * 2048, 5057, 0.85),
        ("he-aac-v2.m4a", False, 26 * 2048, 7105, 0.75),
        ("xhe-aac.m4a", False, SAMPLES, 0, 0.9),
    ],
)
def test_high_efficiency(
    name: str, is_explicit: bool, samples: int, delay: int, likeness: float, tmp_path: Path
) -> None:
    path = tmp_path / name
    content = (CASES / name).read_bytes()
    path.write_bytes(explicit(content) if is_explicit else content)
    check(path, "m4a")
    audio, original = decoded(path), song(SAMPLES)
    assert len(audio) == samples
    heard = audio[delay : delay + 40_000, 0], original[:40_000, 0]
    assert np.corrcoef(*heard)[0, 1] > likeness
    power = np.abs(np.fft.rfft(audio[:, 0])) ** 2
    above = power[12_000 * samples // 44_100 :].sum() / power.sum()
    assert above > 0.01  # the half of the band that is replicated is there: the original has 0.09
    assert np.abs(audio[:, 0] - audio[:, 1]).max() > 0.1  # and so are both channels
