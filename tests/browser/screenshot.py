"""Take the README's picture of the mixer from a real server: `python -m tests.browser.screenshot`."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, NAMES
from tests.browser.mixers import Mixer
from tests.browser.visitors import Visitor
from tests.support.audio_files import write_wav
from tests.support.music import backing, voice
from tests.support.servers import ROOT, Server

PICTURE = ROOT / "ezstems" / "docs" / "mixer.png"
SIZE = {"width": 1000, "height": 1000}
ROUNDS = 4
MARGIN = 16


def main() -> None:
    """Separate a little song with the bundled model, open it, play into it and take a picture."""
    path = next(filter(None, map(shutil.which, NAMES)))
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "instance", "wsgi:app", model="builtin") as server,
        sync_playwright() as driver,
    ):
        loud = np.tanh(4 * np.tile(backing() + voice(), (ROUNDS, 1)))
        song = write_wav(Path(folder) / "song.wav", 0.7 * loud)
        visitor = Visitor(server, "you@example.com")
        job_id = visitor.wait(visitor.upload("Evening Song.wav", song.read_bytes(), stems=4))
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        context = browser.new_context(base_url=server.url, viewport=SIZE, reduced_motion="reduce")
        visitor.lend(context)
        mixer = Mixer.open(context.new_page(), job_id)
        mixer.lane("vocals", "wave").click(position=mixer.wave("vocals", 0.36))
        mixer.play()
        mixer.page.evaluate("document.activeElement.blur()")
        mixer.until(lambda moment: len(moment.levels) == 4 and all(moment.levels.values()))
        top = mixer.page.locator("h1").bounding_box()["y"] - MARGIN
        last = mixer.root.locator("[data-lane]").last.bounding_box()
        height = last["y"] + last["height"] + MARGIN - top
        clip = {"x": 0, "y": top, "width": SIZE["width"], "height": height}
        mixer.page.screenshot(path=PICTURE, full_page=True, clip=clip)
        browser.close()


if __name__ == "__main__":
    main()
