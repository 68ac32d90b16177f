"""Previews in a real browser: exact to the frame, soon heard on a slow line, small in memory."""

from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.known_stems import AMPLITUDE, CYCLES, PERIOD_SAMPLES
from tests.browser.known_stems import stem as known
from tests.browser.mixers import KEEP_CARD, Mixer
from tests.browser.test_long_song import private_bytes
from tests.browser.visitors import Visitor, silence
from tests.support.servers import Server

RATE_HZ, CHUNK_FRAMES, HALF = 44_100, 176_400, 20_000
SECONDS = 21.3
LINE_BYTES_A_SECOND, LINE_LATENCY_MS = 200_000, 40  # 1.6 Mbit/s
# From Play to the sound: of the line, and on a busy machine; it would be over 12 if whole stems had to come.
MOST_LINE_SECONDS, MOST_SECONDS = 3, 12
STEMS = ("vocals", "drums", "bass", "piano", "other")
LONG_SECONDS = 120  # thrice what is kept; at five times that it is the same
MOST_BYTES = 250_000_000
# What the mixer's own source reads, from one frame to another, of one stem.
READ = """async ([stem, start, end]) => {
  const { PreviewSource, previewsOf } = await import("/static/mixer/preview_source.js");
  const url = document.querySelector("[data-mixer]").dataset.previews;
  const source = new PreviewSource(`${url}/${stem}`, await previewsOf(url));
  return [source.frames, [...await source.read(start, end)]];
}"""


# The bytes that came from one second of the page's clock to another.
FETCHED = """([first, last]) => performance.getEntriesByType("resource")
  .filter(({ responseEnd }) => responseEnd > 1000 * first && responseEnd <= 1000 * last)
  .reduce((sum, { transferSize }) => sum + transferSize, 0)"""


@pytest.fixture(scope="module")
def previewing(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    instance = tmp_path_factory.mktemp("previews") / "instance"
    with Server(instance, "tests.browser.known_wsgi:app", previews="on") as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def held(previewing: Server) -> Iterator[Server]:
    """Return the server, which finishes no separation until the test lets it, or ends."""
    previewing.hold()
    yield previewing
    previewing.release()


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


def frames_late(stem: str, heard: np.ndarray, wanted: np.ndarray) -> float:
    """Return by how many frames a tone is late, by its phase: exact to far less than one."""
    step = 2 * np.pi * CYCLES[stem] / PERIOD_SAMPLES
    turn = np.exp(-1j * step * np.arange(len(wanted))) * np.hanning(len(wanted))
    return float(np.angle((wanted * turn).sum() / (heard * turn).sum()) / step)


def read(page: Page, stem: str, start: int, end: int) -> tuple[int, np.ndarray]:
    frames, samples = page.evaluate(READ, [stem, start, end])
    return frames, np.array(samples).reshape(-1, 2) / 32768  # they come as 16 bits, as the stems do


def test_chunks_join_to_the_frame(
    previewing: Server, listener: Visitor, song: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(previewing, listener)
    Mixer.open(page, song)
    whole = round(SECONDS * RATE_HZ)
    for stem in STEMS:
        wanted = known(stem, 5, whole) / 32768
        for seam in (CHUNK_FRAMES, 3 * CHUNK_FRAMES):
            frames, heard = read(page, stem, seam - HALF, seam + HALF)
            assert frames == whole
            sought = wanted[seam - HALF : seam + HALF]
            for half in (slice(None, HALF), slice(HALF, None)):
                assert abs(frames_late(stem, heard[half, 0], sought[half, 0])) < 0.4, "no whole frame"
            error = heard[:, 0] - sought[:, 0]
            assert abs(error[HALF] - error[HALF - 1]) < 0.01 * AMPLITUDE / 32768, "a click"
    # The song's end is a frame like any other.
    _, end = read(page, "vocals", whole - 3000, whole)
    assert end.shape == (3000, 2)
    assert np.abs(end[-1000:-50] - known("vocals", 5, whole)[-1000:-50] / 32768).max() < 0.05 * AMPLITUDE / 32768


def test_a_page_that_sees_its_song_done_waits_for_them(
    held: Server, listener: Visitor, open_page: Callable[..., Page]
) -> None:
    job_id = listener.upload("song.wav", silence(SECONDS), stems=5)
    page = open_page(held, listener)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/songs/{job_id}")
    expect(page.get_by_text("Separating:")).to_be_visible()
    held.release()
    mixer = Mixer(page)
    mixer.expect("ready")
    expect(mixer.part("original")).to_be_visible()
    expect(mixer.part("status")).to_be_empty()
    assert not [url for url in asked if "/stems/" in url]
    listener.delete(job_id)


def test_a_home_line_hears_five_stems_at_once_and_without_a_stall(
    previewing: Server, listener: Visitor, song: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(previewing, listener)
    page.goto("/songs")
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    line = {"offline": False, "latency": LINE_LATENCY_MS, "uploadThroughput": LINE_BYTES_A_SECOND / 4}
    session.send("Network.emulateNetworkConditions", line | {"downloadThroughput": LINE_BYTES_A_SECOND})
    page.add_init_script(KEEP_CARD)
    mixer = Mixer.open(page, song)
    pressed = mixer.now().seconds
    mixer.play()
    heard = mixer.until(lambda moment: all(moment.levels.get(stem) for stem in STEMS))
    fetched = page.evaluate(FETCHED, [pressed, heard.seconds])
    print("ready", pressed, "heard", heard.seconds, "fetched", fetched)
    assert fetched / LINE_BYTES_A_SECOND < MOST_LINE_SECONDS
    assert heard.seconds - pressed < MOST_SECONDS, (pressed, heard.seconds)
    moments = mixer.follow(10, lambda moments: len(moments) > 20)
    assert {moment.state for moment in moments} == {"playing"}
    # Where the sound stood still, the song's time is behind the card's.
    behind = [moment.card - moment.position for moment in moments]
    assert abs(median(behind[-5:]) - median(behind[:5])) < 0.3


def test_a_long_song_takes_little_memory(
    previewing: Server, listener: Visitor, open_page: Callable[..., Page], browser: Browser
) -> None:
    job_id = song_with_previews(previewing, listener, LONG_SECONDS, output="mp3")
    page = open_page(previewing, listener)
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    mixer = Mixer.open(page, job_id)
    before = private_bytes(browser)
    mixer.play()
    mixer.follow(3)
    for _ in range(5):  # its waveforms are then drawn of what is decoded, wherever it plays
        page.keyboard.press("+")
    for second in range(10, LONG_SECONDS, 10):  # more chunks than are kept
        mixer.part("seek").fill(str(second))
        mixer.until(lambda moment, second=second: moment.position > second + 0.3 and all(moment.levels.values()))
    used = private_bytes(browser) - before
    print("renderer bytes", used, before)
    assert used < MOST_BYTES
    assert not [url for url in asked if "/stems/" in url]
    listener.delete(job_id)
    assert not list(previewing.instance.glob(f"results/{job_id}*"))


def test_the_original_is_heard_beside_the_stems_where_the_upload_is_kept(
    previewing: Server, listener: Visitor, song: str, open_page: Callable[..., Page]
) -> None:
    """The song that was uploaded is silence, its stems aren't: what is heard is told by that."""
    mixer = Mixer.open(open_page(previewing, listener), song)
    expect(mixer.part("original")).to_be_visible()
    mixer.play()
    mixer.until(lambda moment: moment.mix > 0.01)
    mixer.page.keyboard.press("b")
    expect(mixer.part("original")).to_have_attribute("aria-pressed", "true")
    mixer.until(lambda moment: moment.state == "playing" and moment.mix == 0)
    mixer.page.keyboard.press("b")
    mixer.until(lambda moment: moment.mix > 0.01)
