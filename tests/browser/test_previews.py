"""Previews in a real browser: exact to the frame, soon heard on a slow line, small in memory, never in what is saved."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Request

from tests.browser.known_stems import AMPLITUDE, period
from tests.browser.known_stems import stem as known
from tests.browser.mixers import Mixer
from tests.browser.test_long_song import private_bytes
from tests.browser.visitors import Visitor, silence
from tests.support.servers import Server

RATE_HZ, CHUNK_FRAMES = 44_100, 176_400
SECONDS = 21.3
LINE_BYTES_A_SECOND, LINE_LATENCY_MS = 200_000, 40  # 1.6 Mbit/s
STEMS = ("vocals", "drums", "bass", "piano", "other")
LONG_SECONDS = 600
MOST_BYTES = 250_000_000
# What the mixer's own source reads, from one frame to another, of one stem.
READ = """async ([stem, start, end]) => {
  const { PreviewSource, previewsOf } = await import("/static/mixer/preview_source.js");
  const url = document.querySelector("[data-mixer]").dataset.previews;
  const source = new PreviewSource(`${url}/${stem}`, await previewsOf(url), null);
  return [source.frames, [...await source.read(start, end)]];
}"""


@pytest.fixture(scope="module")
def previewing(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    instance = tmp_path_factory.mktemp("previews") / "instance"
    with Server(instance, "tests.browser.known_wsgi:app", previews="on") as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def listener(previewing: Server) -> Visitor:
    return Visitor(previewing, "listener@example.com")


def song_with_previews(server: Server, visitor: Visitor, seconds: float, **fields: object) -> str:
    """Return a finished song once its previews are there."""
    job_id = visitor.wait(visitor.upload("song.wav", silence(seconds), stems=5, **fields))
    server.logged(f"job {job_id}: previews of ")
    return job_id


@pytest.fixture(scope="module")
def song(previewing: Server, listener: Visitor) -> str:
    return song_with_previews(previewing, listener, SECONDS, output="mp3")


def read(page: Page, stem: str, start: int, end: int) -> tuple[int, np.ndarray]:
    frames, samples = page.evaluate(READ, [stem, start, end])
    return frames, np.array(samples).reshape(-1, 2)


def test_chunks_join_to_the_frame(
    previewing: Server, listener: Visitor, song: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(previewing, listener)
    Mixer.open(page, song)
    whole = round(SECONDS * RATE_HZ)
    for stem in STEMS:
        wanted = known(stem, 5, whole) / 32768
        for middle in (CHUNK_FRAMES, 3 * CHUNK_FRAMES):
            frames, heard = read(page, stem, middle - 2000, middle + 2000)
            assert frames == whole
            error = heard - wanted[middle - 2000 : middle + 2000]
            # A frame's shift alone would be an error of 4 % in the lowest tone and 14 % in the highest.
            tone = AMPLITUDE / 32768
            assert np.abs(error[:, 0]).max() < 0.03 * tone, stem
            shifts = [
                np.square(heard[8 + shift : len(heard) - 8 + shift] - wanted[middle - 1992 : middle + 1992]).sum()
                for shift in range(-2, 3)
            ]
            assert int(np.argmin(shifts)) == 2, (stem, shifts)  # no drift: every stem at its own frame
    # The song's end is a frame like any other.
    _, end = read(page, "vocals", whole - 3000, whole)
    assert end.shape == (3000, 2)
    assert np.abs(end[-1000:-50] - known("vocals", 5, whole)[-1000:-50] / 32768).max() < 0.03 * AMPLITUDE / 32768


def test_a_home_line_hears_five_stems_at_once_and_without_a_stall(
    previewing: Server, listener: Visitor, song: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(previewing, listener)
    page.goto("/songs")
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    line = {"offline": False, "latency": LINE_LATENCY_MS, "uploadThroughput": LINE_BYTES_A_SECOND / 4}
    session.send("Network.emulateNetworkConditions", line | {"downloadThroughput": LINE_BYTES_A_SECOND})
    mixer = Mixer.open(page, song)
    pressed = mixer.now().seconds
    mixer.play()
    heard = mixer.until(lambda moment: all(moment.levels.get(stem) for stem in STEMS))
    assert heard.seconds - pressed < 3, (pressed, heard.seconds)
    moments = mixer.follow(10)
    print("ready", pressed, "heard", heard.seconds)
    assert {moment.state for moment in moments} == {"playing"}
    # Where the sound stood still, the song's time is behind the clock's.
    played, passed = moments[-1].position - moments[0].position, moments[-1].seconds - moments[0].seconds
    assert abs(played - passed) < 0.3


def test_what_is_saved_is_made_of_the_stems_themselves(
    previewing: Server, listener: Visitor, open_page: Callable[..., Page]
) -> None:
    job_id = song_with_previews(previewing, listener, 1, output="wav")
    page = open_page(previewing, listener)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    Mixer.open(page, job_id)
    assert [url for url in asked if "/previews/" in url] and not [url for url in asked if "/stems/" in url]
    mixed = page.evaluate(
        """async () => {
          const { openStems } = await import("/static/mixer/stems.js");
          const { mixdown } = await import("/static/mixer/mixdown.js");
          const root = document.querySelector("[data-mixer]");
          const lanes = [...root.querySelectorAll("[data-lane]")].map((lane) => (
            { stem: lane.dataset.lane, url: `/songs/${root.dataset.previews.split("/")[2]}/stems/${lane.dataset.lane}`,
              showLoading() {} }));
          const sources = await openStems(lanes, true, root.dataset.previews);
          const signal = new AbortController().signal;
          const { blob } = await mixdown(sources, lanes.map(() => 1), sources[0].frames, { tell() {}, signal });
          return [...new Int16Array((await blob.arrayBuffer()).slice(44))];
        }"""
    )
    wanted = sum(known(stem, 5, RATE_HZ).astype(int) for stem in STEMS)
    assert np.array_equal(np.array(mixed).reshape(-1, 2), wanted)
    assert period("vocals", 5).any()


def test_ten_minutes_take_little_memory(
    previewing: Server, listener: Visitor, open_page: Callable[..., Page], browser: Browser
) -> None:
    job_id = song_with_previews(previewing, listener, LONG_SECONDS, output="mp3")
    page = open_page(previewing, listener)
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    mixer = Mixer.open(page, job_id)
    mixer.play()
    mixer.follow(3)
    for second in range(60, LONG_SECONDS, 90):  # more chunks than are kept
        mixer.part("seek").fill(str(second))
        mixer.until(lambda moment, second=second: moment.position > second + 0.3 and all(moment.levels.values()))
    used = private_bytes(browser)
    print("renderer bytes", used)
    assert used < MOST_BYTES
    assert not [url for url in asked if "/stems/" in url]
    listener.delete(job_id)
    assert not list(previewing.instance.glob(f"results/{job_id}*"))
