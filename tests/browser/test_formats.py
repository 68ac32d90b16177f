"""Other stems play and mix as 16-bit WAV does: floats as they are, compressed ones decoded by the browser."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.browser.known_stems import RATE_HZ, stem
from tests.browser.mixers import STEMS, Mixer
from tests.browser.visitors import Visitor, silence
from tests.support import audio_files
from tests.support.servers import Server

SECONDS = 6


@pytest.mark.parametrize(("output", "tolerance"), [("wav32", 0), ("flac", 0), ("mp3", 400)])
def test_stems_of_every_kind_are_mixed(
    server: Server,
    owner: Visitor,
    open_page: Callable[..., Page],
    tmp_path: Path,
    output: str,
    tolerance: int,
) -> None:
    song = owner.wait(owner.upload(f"{output}.wav", silence(SECONDS), output=output))
    page = open_page(server, owner)
    mixer = Mixer.open(page, song)
    mixer.part("loop").click()  # there is always more of the song, however slow the machine is
    mixer.play()
    mixer.until_heard(dict.fromkeys(STEMS, 1.0))
    with page.expect_download() as download:
        mixer.export("This mix").click()
    download.value.save_as(tmp_path / "mix.wav")
    is_float = struct.unpack_from("<H", (tmp_path / "mix.wav").read_bytes(), 56)[0] == 3  # behind a JUNK chunk
    assert is_float == (output == "wav32")
    mixed = np.rint(audio_files.read(tmp_path / "mix.wav") * 32768)
    wanted = sum(stem(name, 4, SECONDS * RATE_HZ).astype(np.int32) for name in STEMS)
    assert mixed.shape == wanted.shape
    # MP3 rings where the tones begin and end at once.
    inner = slice(2000, -2000)
    assert np.abs(mixed - wanted)[inner].max() <= tolerance
