"""The whole way with the real engine and the bundled model: from a song that is picked to a mix of its stems."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS
from tests.browser.mixers import Mixer
from tests.browser.visitors import Visitor
from tests.support import audio_files
from tests.support.servers import Server

SECONDS = 26  # three tiles: enough for a progress between none and all


def test_a_song_becomes_stems_and_a_mix_again(
    tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    """Where the cutoff is the full band, the stems add up to the song."""
    song = audio_files.song(SECONDS * audio_files.RATE_HZ + 321)
    source = audio_files.write_wav(tmp_path / "song.wav", song)
    with Server(tmp_path / "instance", "wsgi:app", model="builtin") as server:
        page = open_page(server, Visitor(server, "someone@example.com"))
        page.goto("/upload")
        for stems in ("2", "4", "5"):  # only what concerns the choice is told
            page.get_by_label("Stems").select_option(stems)
            expect(page.get_by_role("complementary")).to_have_count(1)
            expect(page.get_by_role("complementary")).to_contain_text(f"small bundled model (builtin {stems}stems)")
        page.get_by_label("Drop songs here").set_input_files(source)
        page.get_by_label("Stems").select_option("2")
        page.get_by_label("Bandwidth").select_option("full")
        page.get_by_role("button", name="Separate").click()
        page.get_by_role("article").get_by_role("link", name="Open").click()
        mixer = Mixer(page)
        expect(mixer.root).to_have_attribute("data-state", "ready", timeout=4 * PATIENCE_MS)
        expect(page.get_by_text("Separated by builtin 2stems")).to_be_visible()
        mixer.play()
        mixer.until(lambda moment: len(moment.levels) == 2 and all(moment.levels.values()))
        with page.expect_download() as download:
            mixer.export("This mix").click()
        download.value.save_as(tmp_path / "mix.wav")
        mixed = audio_files.read(tmp_path / "mix.wav")
        assert mixed.shape == song.shape
        assert np.abs(mixed - song).max() * 32768 < 8
        page.close()
