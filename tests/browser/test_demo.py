"""The first page's demo: the mixer, played by whoever has no account, with the files that its script makes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect

from ezstems.jobs import STEMS
from tests.browser.demo_song import FOLDER, song
from tests.browser.mixers import Mixer
from tests.support import audio_files
from tests.support.servers import Server

MOST_BYTES = 700_000
# What an MP3's encoder and decoder put in front, where the decoder doesn't take it away.
MOST_DELAY_SAMPLES = 2 * 1152


def test_the_demo_plays_without_an_account(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(server.url)))
    page.goto("/")
    mixer = Mixer(page)
    mixer.expect("ready")
    mixer.part("loop").click()  # there is always more of the song, however slow the machine is
    mixer.play()
    mixer.until(lambda moment: sum(level > 0 for level in moment.levels.values()) == len(STEMS[5]))
    mixer.lane("bass", "solo").click()
    mixer.until(lambda moment: [name for name, level in moment.levels.items() if level > 0] == ["bass"])
    assert [path for path in asked if path != "/" and not path.startswith(("/static/", "blob:"))] == []
    for name in ("Download ZIP", "Delete"):  # nor is anything offered that takes one
        expect(page.get_by_text(name, exact=True).locator("visible=true")).to_have_count(0)
    assert server.rows("SELECT id FROM jobs WHERE id = 'demo'") == []


def test_the_demos_files_are_what_its_script_makes(tmp_path: Path) -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= MOST_BYTES
    made = song()
    assert list(made) == list(STEMS[5])
    for name, samples in made.items():
        copied = Path(shutil.copy(FOLDER / f"{name}.mp3", tmp_path))  # decoded beside itself
        wanted, kept = samples.mean(axis=1), audio_files.read(copied).mean(axis=1)
        assert 0 <= len(kept) - len(wanted) <= MOST_DELAY_SAMPLES
        spectrum = np.fft.rfft(kept, 2**20) * np.fft.rfft(wanted, 2**20).conj()
        likeness = np.fft.irfft(spectrum)[:MOST_DELAY_SAMPLES].max() / np.sqrt((kept**2).sum() * (wanted**2).sum())
        assert likeness > 0.97, (name, likeness)
