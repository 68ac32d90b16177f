"""The waveforms enlarged in a real browser, and the loop's ends that drag: by mouse, keys and fingers."""

import io
import re
import time
import wave
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import CDPSession, Locator, Page, Route, expect

from ezstems.audio.peaks import Meter, Peaks
from tests.browser import axe
from tests.browser.mixers import STEMS, TONES_SECONDS, Mixer, tap, wraps
from tests.browser.visitors import Visitor
from tests.clients.programs import Unavailable
from tests.support.servers import Server

RATE_HZ = 44_100
FINE_FRAMES = 48
DEEPEST = 10  # presses of a key that doubles, from a whole song to a second and beyond
# How high the waveform is in each of a canvas' columns: it alone is drawn there while nothing is played or looped.
HEIGHTS = """(canvas) => {
  const { width, height } = canvas;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return Array.from({ length: width }, (_, x) => {
    let alpha = 0;
    for (let y = 0; y < height; y += 1) alpha += data[4 * (y * width + x) + 3];
    return alpha / 255 / 0.45 / height;
  });
}"""


def sound(seed: int) -> np.ndarray:
    """Make int16 (samples, 2): noise, as loud as chance will have it from one millisecond to the next."""
    random = np.random.default_rng(seed)
    samples = round(TONES_SECONDS * RATE_HZ)
    loud = np.repeat(random.uniform(0, 1, -(-samples // 441)) ** 2, 441)[:samples, None]
    loud = loud * np.repeat(random.uniform(0.1, 1, -(-samples // 60)), 60)[:samples, None]
    return np.rint(32767 * loud * random.choice([-1, 1], (samples, 2)) * (1.0, 0.5)).astype(np.int16)


def wav(pcm: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.astype("<i2").tobytes())
    return buffer.getvalue()


def ranges_of(file: bytes) -> Callable[[Route], None]:
    """Return what answers with a file's ranges."""

    def answer(route: Route) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", route.request.headers["range"])
        first, last = map(int, asked.groups())
        body = file[first : last + 1]
        told = f"bytes {first}-{first + len(body) - 1}/{len(file)}"
        route.fulfill(status=206, body=body, headers={"content-range": told, "content-type": "audio/wav"})

    return answer


def lend(page: Page, sounds: dict[str, np.ndarray]) -> None:
    """Let the song's stems be others than they are."""
    meters = {}
    for name, pcm in sounds.items():
        meters[name] = Meter()
        meters[name].add(pcm)
        page.route(f"**/stems/{name}", ranges_of(wav(pcm)))
    page.route("**/peaks", lambda route: route.fulfill(body=Peaks.of(meters).json(), content_type="application/json"))


def view(mixer: Mixer) -> tuple[float, float]:
    """Return what is in sight, in seconds."""
    start, end = map(float, (mixer.root.get_attribute("data-view") or "").split())
    return start, end


def until(read: Callable[[], Any], condition: Callable[[Any], bool]) -> Any:
    """Read until what was read is what a condition wants; return it."""
    deadline = time.monotonic() + 60
    while not condition(found := read()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def highest(pcm: np.ndarray, first: np.ndarray, past: np.ndarray) -> np.ndarray:
    """Return the highest absolute samples from one frame to another, 0 where that is none."""
    loudest = np.abs(pcm.astype(np.int32)).max(axis=1) / 32768
    return np.array([loudest[max(0, a) : b].max(initial=0) for a, b in zip(first, past, strict=True)])


def check_drawn(mixer: Mixer, stem: str, pcm: np.ndarray, frames_a_peak: int) -> None:
    """Wait until a lane's columns are as high as the samples beneath them, which peaks may move by one of theirs."""
    canvas = mixer.lane(stem, "wave")
    start, end = (RATE_HZ * second for second in view(mixer))
    position = mixer.now().position * RATE_HZ
    deadline = time.monotonic() + 60
    while True:
        heights = np.array(canvas.evaluate(HEIGHTS))
        frames = (end - start) / len(heights)
        first = np.round((np.round(start / frames) + np.arange(len(heights))) * frames).astype(int)
        past = np.round(first + frames).astype(int)
        pixel = 1 / canvas.evaluate("canvas => canvas.height")
        least = highest(pcm, first + frames_a_peak, past - frames_a_peak) - 1.5 * pixel
        most = np.maximum(highest(pcm, first - frames_a_peak, past + frames_a_peak), pixel) + 1.5 * pixel
        # What was played is in full colour, and the playhead over it all.
        wrong = ((heights < least) | (heights > most))[np.arange(len(heights)) > 2 + (position - start) / frames]
        if not wrong.any():
            assert heights.std() > 0.05, "it isn't flat"
            return
        assert time.monotonic() < deadline, (stem, wrong.sum(), len(heights))
        mixer.page.wait_for_timeout(100)


def test_what_is_drawn_is_the_sound_at_every_level(
    server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(server, owner)
    sounds = {stem: sound(seed) for seed, stem in enumerate(STEMS)}
    lend(page, sounds)
    fetched: list[str] = []
    page.on("request", lambda request: "/stems/" in request.url and fetched.append(request.url))
    mixer = Mixer.open(page, tones)
    headers = len(fetched)
    check_drawn(mixer, "vocals", sounds["vocals"], 512)
    page.keyboard.press("+")
    assert view(mixer) == (0, TONES_SECONDS / 2)
    check_drawn(mixer, "drums", sounds["drums"], 512)
    assert len(fetched) == headers, "the server's peaks will do"
    page.keyboard.press("+")
    for stem in STEMS:
        check_drawn(mixer, stem, sounds[stem], FINE_FRAMES)
    for _ in range(DEEPEST):
        page.keyboard.press("+")
    assert view(mixer) == (0, 1)
    mixer.part("seek").fill("8")  # two chunks join there
    start, end = view(mixer)
    assert start < 8 < end == pytest.approx(start + 1)
    for stem in STEMS:
        check_drawn(mixer, stem, sounds[stem], FINE_FRAMES)
    # What was looked at once is there.
    asked = len(fetched)
    mixer.part("seek").fill("0")
    check_drawn(mixer, "vocals", sounds["vocals"], FINE_FRAMES)
    assert len(fetched) == asked


@pytest.fixture
def mixer(server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page]) -> Mixer:
    """Return the mixer of the song of tones."""
    return Mixer.open(open_page(server, owner), tones)


def test_zoom_by_buttons_keys_wheel_and_slider(mixer: Mixer) -> None:
    page, press = mixer.page, mixer.page.keyboard.press
    expect(mixer.part("scroll")).to_be_disabled()
    mixer.part("seek").fill("10")
    mixer.part("zoom-in").click()
    assert view(mixer) == (5, 15), "around the position"
    expect(page.locator("[data-announce]")).to_have_text("0:05.0 to 0:15.0 in sight")
    press("+")
    press("=")
    assert view(mixer) == (8.75, 11.25)
    press("-")
    assert view(mixer) == (7.5, 12.5)
    # A click means what is under it, and stays there.
    mixer.lane("drums", "wave").click(position=mixer.wave("drums", 0.25))
    assert mixer.now().position == pytest.approx(8.75, abs=0.01)
    assert view(mixer) == (7.5, 12.5)
    # The wheel zooms about the pointer with Ctrl, scrolls with Shift, and else is the page's.
    box = mixer.lane("drums", "wave").bounding_box()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 20)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -208)  # twice as near
    page.keyboard.up("Control")
    start, end = until(lambda: view(mixer), lambda seen: seen[0] > 9)
    assert end - start == pytest.approx(2.5, abs=0.02)
    assert start + 0.8 * (end - start) == pytest.approx(11.5, abs=0.02)
    page.mouse.wheel(box["width"], 0)
    assert until(lambda: view(mixer), lambda seen: seen[0] > 11)[0] == pytest.approx(end, abs=0.02)
    scrolled = page.evaluate("scrollY")
    page.mouse.wheel(0, 100)
    until(lambda: page.evaluate("scrollY"), lambda now: now > scrolled)
    # So does the slider below, by a quarter of what is in sight.
    mixer.part("scroll").focus()
    press("Home")
    assert view(mixer)[0] == 0
    press("ArrowRight")
    press("PageDown")
    assert view(mixer)[0] == pytest.approx(1.25 * (end - start), abs=0.01)
    assert re.fullmatch(r"0:03.\d to 0:05.\d", mixer.part("scroll").get_attribute("aria-valuetext"))
    # It is remembered; where the song is, isn't.
    seen = view(mixer)
    page.reload()
    mixer.expect("ready")
    assert view(mixer) == pytest.approx(seen, abs=0.001)
    press("z")
    assert view(mixer) == (0, TONES_SECONDS)
    page.reload()
    mixer.expect("ready")
    assert view(mixer) == (0, TONES_SECONDS)


def test_what_plays_stays_in_sight_unless_somebody_looks_elsewhere(mixer: Mixer) -> None:
    for _ in range(DEEPEST):
        mixer.page.keyboard.press("+")
    mixer.part("seek").fill("3")
    assert view(mixer)[0] == pytest.approx(2.95, abs=0.001)
    mixer.play()
    mixer.until(lambda moment: moment.position > 4.5)
    told = mixer.root.evaluate("({ dataset }) => `${dataset.position} ${dataset.view}`")  # at one moment
    position, start, end = map(float, told.split())
    assert start - 0.1 <= position <= end + 1, "pages are turned"
    assert start > 3.5
    mixer.part("scroll").focus()
    mixer.page.keyboard.press("End")
    before = mixer.now().position
    mixer.until(lambda moment: moment.position > before + 0.5)
    assert view(mixer) == (TONES_SECONDS - 1, TONES_SECONDS)
    mixer.page.locator("main").focus()
    mixer.page.keyboard.press("Home")
    assert view(mixer)[0] < TONES_SECONDS - 5


def ends(mixer: Mixer) -> tuple[float, float]:
    """Return where the loop's handles say that its ends are, in seconds."""
    start, end = (float(mixer.part(f"edge-{end}").get_attribute("aria-valuenow")) for end in ("start", "end"))
    return start, end


def test_the_ends_of_a_loop_drag_and_step(mixer: Mixer) -> None:
    page, press = mixer.page, mixer.page.keyboard.press
    expect(mixer.part("edge-start")).to_be_hidden()
    mixer.part("seek").fill("4")
    press("i")
    mixer.part("seek").fill("12")
    press("o")
    assert ends(mixer) == (4, 12)
    ruler = mixer.part("ruler").bounding_box()
    middle = ruler["y"] + ruler["height"] / 2

    def x(second: float) -> float:
        start, end = view(mixer)
        return ruler["x"] + (second - start) / (end - start) * ruler["width"]

    def drag(start: float, *others: float) -> None:
        page.mouse.move(x(start), middle)
        page.mouse.down()
        for second in others:
            page.mouse.move(x(second), middle)

    drag(4, 5, 6)
    page.mouse.up()
    assert ends(mixer) == (pytest.approx(6, abs=0.03), 12)
    expect(mixer.part("edge-start")).to_have_attribute("aria-valuetext", "0:06.0")
    expect(mixer.part("loop-text")).to_have_text("0:06.0 – 0:12.0")
    # Taken beside the line, it doesn't jump there; it never crosses the other one; Escape leaves it as it was.
    drag(12.1, 10.1)
    assert ends(mixer)[1] == pytest.approx(10, abs=0.03)
    page.mouse.move(x(1), middle)
    assert ends(mixer)[1] == pytest.approx(ends(mixer)[0] + 0.1, abs=0.001)
    press("Escape")
    page.mouse.move(x(2), middle)
    page.mouse.up()
    assert ends(mixer) == (pytest.approx(6, abs=0.03), 12)
    # By keys, and read aloud.
    handle = page.get_by_role("slider", name="Loop end")
    handle.focus()
    for key, second in (("ArrowLeft", 11.9), ("Shift+ArrowRight", 11.91), ("PageDown", 10.91), ("ArrowUp", 11.01)):
        press(key)
        assert ends(mixer)[1] == pytest.approx(second, abs=0.001)
    expect(handle).to_have_attribute("aria-valuetext", "0:11.0")
    press("End")
    assert ends(mixer)[1] == TONES_SECONDS
    # While it plays, and enlarged: what is let go is played.
    page.locator("main").focus()
    press("+")
    handle.focus()
    assert view(mixer)[1] == TONES_SECONDS, "who comes by the Tab key sees it"
    press("z")
    mixer.play()
    drag(TONES_SECONDS - 0.1, 9, 7.1)
    assert mixer.now().state == "playing"
    page.mouse.up()
    assert ends(mixer)[1] == pytest.approx(7.2, abs=0.15)
    positions = [each.position for each in mixer.follow(2.5, wraps)]
    assert min(positions) > 5.9
    assert max(positions) < 7.5


def touch(finger: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    told = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": told})


def place(part: Locator) -> dict[str, Any]:
    box = part.bounding_box()
    assert box is not None
    return {**box, "middle": box["y"] + box["height"] / 2}


def test_fingers_zoom_and_drag_the_ends(
    server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page]
) -> None:
    phone = {"viewport": {"width": 390, "height": 700}, "has_touch": True, "is_mobile": True}
    mixer = Mixer.open(open_page(server, owner, **phone), tones)
    page = mixer.page
    finger = page.context.new_cdp_session(page)
    ruler = place(mixer.part("ruler"))
    at = lambda fraction: ruler["x"] + fraction * ruler["width"]  # noqa: E731
    touch(finger, "touchStart", (at(0.3), ruler["middle"]))
    touch(finger, "touchMove", (at(0.4), ruler["middle"]))
    touch(finger, "touchMove", (at(0.6), ruler["middle"]))
    touch(finger, "touchEnd")
    drawn = ends(mixer)
    assert drawn == (pytest.approx(6, abs=0.6), pytest.approx(12, abs=0.1))
    for name in ("edge-start", "edge-end"):
        handle = place(mixer.part(name))
        assert min(handle["width"], handle["height"]) >= 44
        assert handle["x"] >= ruler["x"]
        assert handle["x"] + handle["width"] <= ruler["x"] + ruler["width"] + 0.5
    scrolled = page.evaluate("scrollY")
    touch(finger, "touchStart", (at(drawn[1] / TONES_SECONDS) + 8, ruler["middle"]))
    touch(finger, "touchMove", (at(0.7), ruler["middle"] + 30))
    touch(finger, "touchMove", (at(0.8), ruler["middle"] + 60))
    touch(finger, "touchEnd")
    assert ends(mixer) == (drawn[0], pytest.approx(16, abs=0.7))
    assert page.evaluate("scrollY") == scrolled
    # Two fingers pull the waveform apart; what was under them stays there, and nothing is played or looped.
    mixer.lane("vocals", "wave").scroll_into_view_if_needed()
    lane = place(mixer.lane("vocals", "wave"))
    before = ends(mixer), mixer.now().position
    touch(finger, "touchStart", (at(0.4), lane["middle"]))
    touch(finger, "touchStart", (at(0.4), lane["middle"]), (at(0.6), lane["middle"]))
    touch(finger, "touchMove", (at(0.35), lane["middle"]), (at(0.65), lane["middle"]))
    touch(finger, "touchMove", (at(0.3), lane["middle"]), (at(0.7), lane["middle"]))
    touch(finger, "touchEnd")
    start, end = view(mixer)
    assert (start, end) == (pytest.approx(5, abs=0.1), pytest.approx(15, abs=0.1))
    assert (ends(mixer), mixer.now().position) == before
    tap(mixer.part("zoom-out"))
    tap(mixer.part("zoom-in"))
    assert view(mixer)[1] - view(mixer)[0] == pytest.approx(10, abs=0.1)
    assert place(mixer.part("scroll"))["height"] >= 44
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    try:
        assert axe.violations(page) == []
    except Unavailable as error:
        pytest.skip(f"{error}: all but axe was tried")
