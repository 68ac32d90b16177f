"""A song of ten minutes and five stems: a tab fetches what it plays, and holds little more than that."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request

from ezstems.audio.separate import STEMS
from tests.browser.mixers import Mixer
from tests.browser.visitors import Visitor, silence
from tests.support.servers import Server

SECONDS = 600
SECOND_BYTES = 44_100 * 4 * 5
# What it may be ahead, and what a seek's last chunks may reach beyond: far more than it should be, far less than all.
AHEAD_SECONDS = 20
END_SECONDS = 4
WHOLE_BYTES = SECONDS * SECOND_BYTES  # half a gigabyte, a whole one as floats
MOST_BYTES = 250_000_000


def private_bytes(browser: Browser) -> int:
    """Return the memory of the browser's pages that is theirs alone: heap, buffers, decoded audio."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    total = 0
    for process in processes:
        # An earlier test's may be about to end.
        with suppress(FileNotFoundError, ProcessLookupError):
            if process["type"] == "renderer":
                for line in Path(f"/proc/{process['id']}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Private_Dirty:"):
                        total += int(line.split()[1]) * 1024
    return total


@pytest.fixture
def long_song(server: Server, owner: Visitor) -> Iterator[str]:
    """Return a finished song of ten minutes: half a gigabyte, which isn't left behind."""
    yield (song := owner.wait(owner.upload("long.wav", silence(SECONDS), stems=5)))
    owner.delete(song)


def test_ten_minutes_of_five_stems_are_fetched_as_they_are_played(
    server: Server, owner: Visitor, long_song: str, open_page: Callable[..., Page], browser: Browser
) -> None:
    page = open_page(server, owner)
    fetched: list[int] = []

    def count(request: Request) -> None:
        if "/stems/" in request.url:
            response = request.response()
            assert response is not None and response.status == 206, request.url
            fetched.append(int(response.headers["content-length"]))

    page.on("requestfinished", count)
    mixer = Mixer.open(page, long_song)
    assert sum(fetched) < SECOND_BYTES  # the headers alone
    before = private_bytes(browser)
    mixer.play()
    assert sum(fetched) < AHEAD_SECONDS * SECOND_BYTES
    played = mixer.follow(6)[-1].position
    mixer.part("seek").fill(str(SECONDS - END_SECONDS))
    mixer.until(lambda moment: moment.position > SECONDS - END_SECONDS and all(moment.levels.values()))
    assert private_bytes(browser) - before < MOST_BYTES
    mixer.expect("paused")
    assert mixer.now().position == SECONDS
    assert mixer.now().levels.keys() == set(STEMS[5])
    assert sum(fetched) < (played + AHEAD_SECONDS + END_SECONDS) * SECOND_BYTES < WHOLE_BYTES / 10
