"""The mixer plays in a real browser: its clock, its lanes, its loop, its keys."""

import re
from base64 import b64encode
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.mixers import KEEP_CARD, STEMS, TONE_LEVEL, TONES_SECONDS, Mixer, Moment, speed, tap, wraps
from tests.browser.visitors import Visitor, silence
from tests.support.servers import Server

ALL = dict.fromkeys(STEMS, 1.0)


@pytest.fixture
def mixer(server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page]) -> Mixer:
    """Return the mixer of the song of tones."""
    page = open_page(server, owner)
    page.add_init_script(KEEP_CARD)
    return Mixer.open(page, tones)


def test_the_song_plays_at_its_own_speed(mixer: Mixer) -> None:
    mixer.play()
    moments = mixer.follow(3, lambda moments: len(moments) > 5 and moments[-1].position > 1)
    assert [each.position for each in moments] == sorted(each.position for each in moments)
    assert speed(moments) == pytest.approx(1, abs=0.1), moments
    expect(mixer.part("time")).to_have_text(re.compile(r"^0:\d\d / 0:20$"))
    mixer.part("play").click()
    mixer.expect("paused")
    still = mixer.now().position
    mixer.page.wait_for_timeout(500)
    assert mixer.now().position == still > 1
    assert set(mixer.now().levels.values()) == {0}


def test_lanes_are_muted_solo_and_turned_down(mixer: Mixer) -> None:
    mixer.part("loop").click()  # there is always more of the song, however slow the machine is
    mixer.play()
    mixer.until_heard(ALL)
    mixer.lane("drums", "solo").click()
    expect(mixer.lane("drums", "solo")).to_have_attribute("aria-pressed", "true")
    mixer.until_heard(dict.fromkeys(STEMS, 0.0) | {"drums": 1.0})
    mixer.lane("bass", "solo").click()
    mixer.until_heard(dict.fromkeys(STEMS, 0.0) | {"drums": 1.0, "bass": 1.0})
    mixer.lane("drums", "mute").click()
    mixer.until_heard(dict.fromkeys(STEMS, 0.0) | {"bass": 1.0})
    for part, (red, green, blue) in (("mute", (198, 40, 40)), ("solo", (255, 212, 59))):
        expect(mixer.lane("drums", part)).to_have_css("background-color", f"rgb({red}, {green}, {blue})")
    for stem, part in (("drums", "mute"), ("drums", "solo"), ("bass", "solo")):
        mixer.lane(stem, part).click()
    mixer.until_heard(ALL)
    for percent in (50, 150, 0):
        mixer.lane("vocals", "volume").fill(str(percent))
        mixer.until_heard(ALL | {"vocals": percent / 100})
    expect(mixer.root.locator("[data-lane=vocals]")).to_have_attribute("data-muted", "")


def test_a_click_on_a_waveform_goes_there(mixer: Mixer) -> None:
    for fraction in (0.75, 0.25):
        mixer.lane("bass", "wave").click(position=mixer.wave("bass", fraction))
        assert mixer.now().position == pytest.approx(fraction * TONES_SECONDS, abs=0.05)
    mixer.play()
    mixer.lane("other", "wave").click(position=mixer.wave("other", 0.5))
    positions = [each.position for each in mixer.follow(1)]
    assert 0.5 * TONES_SECONDS <= min(positions) < 0.9 * TONES_SECONDS, positions
    mixer.until_heard(ALL)


def test_the_song_ends_and_begins_again(mixer: Mixer) -> None:
    mixer.part("seek").fill(str(TONES_SECONDS - 1))
    mixer.part("play").click()  # its last second may be over before anybody looks
    mixer.expect("paused")
    assert mixer.now().position == TONES_SECONDS
    expect(mixer.part("play")).to_have_text("Play")
    mixer.play()
    assert mixer.now().position < TONES_SECONDS - 5


def test_a_loop_is_never_left(mixer: Mixer) -> None:
    box = mixer.lane("vocals", "wave").bounding_box()
    start, end = (box["x"] + fraction * box["width"] for fraction in (0.3, 0.36))
    middle = box["y"] + box["height"] / 2
    mixer.page.keyboard.down("Shift")
    mixer.page.mouse.move(start, middle)
    mixer.page.mouse.down()
    mixer.page.mouse.move((start + end) / 2, middle)
    mixer.page.mouse.move(end, middle)
    mixer.page.mouse.up()
    mixer.page.keyboard.up("Shift")
    expect(mixer.part("loop")).to_have_attribute("aria-pressed", "true")
    expect(mixer.part("loop-text")).to_have_text("0:06.0 – 0:07.2")
    assert mixer.now().position == pytest.approx(6, abs=0.05), "Play begins in it"
    expect(mixer.part("time")).to_have_text("0:06 / 0:20")
    mixer.play()
    positions = [each.position for each in mixer.follow(3.2, wraps)]
    first, last = 0.299 * TONES_SECONDS, 0.361 * TONES_SECONDS
    assert all(first <= position <= last for position in positions), positions
    mixer.until_heard(ALL)
    mixer.part("loop").click()
    mixer.until(lambda moment: moment.position > last + 0.5)


def test_dragging_scrubs(mixer: Mixer) -> None:
    box = mixer.lane("drums", "wave").bounding_box()
    middle = box["y"] + box["height"] / 2
    mixer.page.mouse.move(box["x"] + 0.2 * box["width"], middle)
    mixer.page.mouse.down()
    for fraction in (0.3, 0.5, 0.7, 0.8):
        mixer.page.mouse.move(box["x"] + fraction * box["width"], middle)
        assert mixer.now().position == pytest.approx(fraction * TONES_SECONDS, abs=0.05)
    mixer.page.mouse.up()
    assert mixer.now().state in ("ready", "paused")
    assert mixer.now().position == pytest.approx(0.8 * TONES_SECONDS, abs=0.05)
    # The slider tells where it would go, while it is held.
    seek = mixer.part("seek").bounding_box()
    middle = seek["y"] + seek["height"] / 2
    mixer.page.mouse.move(seek["x"] + 0.8 * seek["width"], middle)
    mixer.page.mouse.down()
    for fraction, seconds in ((0.5, 10), (0.25, 5)):
        mixer.page.mouse.move(seek["x"] + fraction * seek["width"], middle)
        expect(mixer.part("time")).to_have_text(re.compile(f"^0:0?({seconds - 1}|{seconds}) / 0:20$"))
        assert mixer.now().position == pytest.approx(0.8 * TONES_SECONDS, abs=0.2), "it goes there when it is let go"
    mixer.page.mouse.up()
    assert mixer.now().position == pytest.approx(5, abs=0.5)


def test_a_finger_makes_a_loop_and_play_stays_in_sight(
    server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page]
) -> None:
    phone = {"viewport": {"width": 390, "height": 700}, "has_touch": True, "is_mobile": True}
    mixer = Mixer.open(open_page(server, owner, **phone), tones)
    page = mixer.page
    expect(mixer.part("keys")).to_be_hidden()
    box = mixer.part("ruler").bounding_box()
    middle = box["y"] + box["height"] / 2
    finger = page.context.new_cdp_session(page)
    for kind, fraction in (("touchStart", 0.3), ("touchMove", 0.32), ("touchMove", 0.36), ("touchEnd", None)):
        points = [] if fraction is None else [{"x": box["x"] + fraction * box["width"], "y": middle}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(mixer.part("loop")).to_have_attribute("aria-pressed", "true")
    assert re.match(r"0:0[56].\d – 0:07.\d", mixer.part("loop-text").text_content())
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(mixer.part("play")).to_be_in_viewport()
    tap(mixer.part("play"))
    mixer.until(lambda moment: moment.state == "playing" and 5 < moment.position < 8)


def test_what_holds_the_sound_up_is_said(
    server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page], trouble: list[str]
) -> None:
    page = open_page(server, owner)
    # As without an output: what is wanted never begins.
    page.add_init_script("""
      const resume = AudioContext.prototype.resume;
      window.plugIn = () => (AudioContext.prototype.resume = resume);
      AudioContext.prototype.resume = () => new Promise(() => {});""")
    # Nor may the page keep anything: that is no reason not to play.
    page.add_init_script("""Object.defineProperty(window, "localStorage", {
      get: () => { throw new DOMException("denied", "SecurityError"); } });""")
    mixer = Mixer.open(page, tones)
    mixer.part("play").click()
    expect(mixer.part("status")).to_have_text("Starting the sound…")
    expect(page.get_by_role("alert")).to_contain_text("The browser's sound doesn't start. Connect loudspeakers")
    expect(mixer.part("play")).to_have_text("Play")
    page.evaluate("() => void plugIn()")
    mixer.play()
    expect(page.get_by_role("alert")).to_be_hidden()

    # A proxy whose server is away, then a lost connection: said, and no reason to stop.
    page.route("**/stems/*", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    mixer.part("seek").fill("15")
    expect(page.get_by_role("alert")).to_contain_text("The server can't be reached just now")
    mixer.until(lambda moment: moment.state == "buffering")
    page.context.set_offline(True)
    page.unroute("**/stems/*")
    expect(page.get_by_role("alert")).to_contain_text("The server can't be reached. Check")
    mixer.until(lambda moment: moment.state == "buffering")
    page.context.set_offline(False)
    mixer.until(lambda moment: moment.state == "playing" and moment.position > 15)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert all("ERR_INTERNET_DISCONNECTED" in each or "status of 502" in each for each in trouble)
    trouble.clear()


def test_stems_that_cancel_out_are_silent_together(
    server: Server, owner: Visitor, open_page: Callable[..., Page]
) -> None:
    """Were one stem a single sample late, ever, the noise and its opposite would be loud."""
    song = owner.wait(owner.upload("inverted.wav", silence(15), stems=2))
    mixer = Mixer.open(open_page(server, owner), song)
    mixer.play()

    def are_loud(moments: list[Moment]) -> bool:
        return sum(bool(each.levels) and min(each.levels.values()) > 0.05 for each in moments) > 2

    moments = []
    for second in (3, 11.3, 7):  # chunks end after 4, 8 and 12
        mixer.part("seek").fill(str(second))
        moments += mixer.follow(1.4, are_loud)
    mixer.part("loop-start").click()
    began = mixer.now().position
    mixer.until(lambda moment: moment.position > began + 0.5)
    mixer.part("loop-end").click()
    moments += mixer.follow(2, lambda moments: are_loud(moments) and wraps(moments))
    assert max(each.mix for each in moments) == 0, moments
    mixer.lane("vocals", "mute").click()
    assert mixer.until(lambda moment: moment.levels["vocals"] == 0 and moment.mix > 0.05)


NAME = """(element) =>
  `${element.closest("[data-lane]")?.dataset.lane ?? ""} ${element.dataset.part ?? element.textContent.trim()}`"""
CONTROLS = f"""() => [...document.querySelectorAll("main :is(a[href], button, input, select, summary)")]
  .filter((each) => !each.disabled && each.type !== "hidden" && each.checkVisibility()).map({NAME})"""
FOCUSED = f"""() => ({{
  name: ({NAME})(document.activeElement), outline: getComputedStyle(document.activeElement).outlineStyle,
}})"""


def test_the_tab_key_reaches_every_control(mixer: Mixer) -> None:
    expected = mixer.page.evaluate(CONTROLS)
    assert len(expected) > 6 + 4 * len(STEMS), expected
    mixer.page.locator("main").focus()
    reached = []
    for _ in expected:
        mixer.page.keyboard.press("Tab")
        focused = mixer.page.evaluate(FOCUSED)
        reached.append(focused["name"])
        assert focused["outline"] != "none", focused
    assert reached == expected


def test_keys_play_seek_and_mix(mixer: Mixer) -> None:
    page, press = mixer.page, mixer.page.keyboard.press

    def pressed(stem: str, part: str) -> None:
        expect(mixer.lane(stem, part)).to_have_attribute("aria-pressed", "true")

    press("Space")
    mixer.expect("playing")
    press("Space")
    mixer.expect("paused")
    press("Home")
    assert mixer.now().position == 0
    for keys, seconds in (("ArrowRight", 5), ("ArrowRight", 10), ("Shift+ArrowLeft", 9), ("ArrowLeft", 4)):
        press(keys)
        assert mixer.now().position == pytest.approx(seconds, abs=0.01), keys
    for number, stem in enumerate(STEMS, start=1):
        press(str(number))
        pressed(stem, "solo")
        press(str(number))
        expect(mixer.lane(stem, "solo")).to_have_attribute("aria-pressed", "false")
    # A click leaves the space bar to the song, a button that Tab reached keeps it.
    mixer.lane("drums", "solo").click()
    press("Space")
    mixer.expect("playing")
    pressed("drums", "solo")
    press("Space")
    mixer.expect("paused")
    press("Shift+Tab")
    press("Space")
    pressed("drums", "mute")
    press("Space")
    mixer.lane("drums", "solo").click()
    expect(mixer.lane("drums", "mute")).to_have_attribute("aria-pressed", "false")
    mixer.page.locator("main").focus()
    press("Home")
    mixer.lane("vocals", "wave").click(position=mixer.wave("vocals", 0.2))
    press("5")  # there is no fifth lane
    press("m")
    pressed("vocals", "mute")
    press("ArrowDown")
    press("ArrowDown")
    press("s")
    pressed("bass", "solo")
    press("ArrowUp")
    press("Shift+M")
    pressed("drums", "mute")
    press("i")
    press("ArrowRight")
    press("o")
    expect(mixer.part("loop-text")).to_have_text("0:04.0 – 0:09.0")
    press("l")
    expect(mixer.part("loop")).to_have_attribute("aria-pressed", "false")
    press("End")
    assert mixer.now().position == TONES_SECONDS
    press("?")
    expect(page.get_by_role("dialog", name="Keyboard and pointer")).to_be_visible()
    press("Home")
    assert mixer.now().position == TONES_SECONDS
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_keys_are_left_alone_where_one_types(mixer: Mixer) -> None:
    page = mixer.page
    page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    field = page.locator("main > input")
    field.press_sequentially("ms1 l")
    field.press("ArrowLeft")
    expect(field).to_have_value("ms1 l")
    page.locator("main").focus()
    page.keyboard.press("Control+s")
    for button in mixer.root.locator("[aria-pressed]").all():
        expect(button).to_have_attribute("aria-pressed", "false")
    assert (mixer.now().state, mixer.now().position) == ("ready", 0)
    # Whose program reads the page aloud with keys of its own can switch these off.
    page.keyboard.press("?")
    page.get_by_label("Keys work on the whole page").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    expect(mixer.lane("vocals", "mute")).to_have_attribute("aria-pressed", "false")
    page.reload()
    mixer.expect("ready")
    page.keyboard.press("m")
    expect(mixer.lane("vocals", "mute")).to_have_attribute("aria-pressed", "false")


def settings(mixer: Mixer) -> dict[str, str]:
    """Read each lane's volume, and M and S where they are pressed."""
    told = {}
    for stem in STEMS:
        buttons = {part: mixer.lane(stem, part).get_attribute("aria-pressed") for part in ("mute", "solo")}
        pressed = [part[0].upper() for part, is_pressed in buttons.items() if is_pressed == "true"]
        told[stem] = " ".join([mixer.lane(stem, "percent").text_content() or "", *pressed])
    return told


FULL = dict.fromkeys(STEMS, "100 %")


def test_a_song_s_mix_is_remembered_until_it_is_reset(mixer: Mixer) -> None:
    """By keys alone; `P` means the chosen lane."""
    page, press = mixer.page, mixer.page.keyboard.press
    expect(mixer.part("preset")).to_have_value("everything")
    press("k")
    assert settings(mixer) == FULL | {"vocals": "100 % M"}
    press("a")
    assert settings(mixer) == dict.fromkeys(STEMS, "100 % M") | {"vocals": "100 %"}
    press("ArrowDown")
    press("p")
    assert settings(mixer) == FULL | {"drums": "100 % M"}
    expect(mixer.part("preset")).to_have_value("practise drums")
    press("4")
    expect(mixer.part("preset")).to_have_value("own")
    mixer.lane("bass", "volume").focus()
    press("PageUp")
    press("ArrowLeft")
    volume = int(mixer.lane("bass", "volume").input_value())
    assert 100 < volume < 150
    page.locator("main").focus()
    press("ArrowRight")
    press("i")
    press("ArrowRight")
    press("o")
    expected = FULL | {"drums": "100 % M", "bass": f"{volume} %", "other": "100 % S"}
    assert settings(mixer) == expected
    page.reload()
    mixer.expect("ready")
    assert settings(mixer) == expected
    expect(mixer.part("loop")).to_have_attribute("aria-pressed", "true")
    expect(mixer.part("loop-text")).to_have_text("0:05.0 – 0:10.0")
    mixer.lane("bass", "volume").dblclick()
    assert settings(mixer)["bass"] == "100 %"
    mixer.part("reset").focus()
    press("Enter")
    assert settings(mixer) == FULL
    expect(mixer.part("loop")).to_have_attribute("aria-pressed", "false")
    foreign = '{"values": {"mix": {"bass": 7, "drums": {"volume": 151, "muted": 1}}, "loop": [1]}}'
    key = f"mixer.{mixer.root.get_attribute('data-song')}"
    page.evaluate("([key, text]) => localStorage.setItem(key, text)", [key, foreign])
    page.reload()
    mixer.expect("ready")
    assert settings(mixer) == FULL


# As if the song's own sound were its vocals: a quarter of the power of the four tones.
ORIGINAL = """
import { WavSource } from "./pcm.js";
export const openOriginal = (root) => WavSource.open(root.querySelector("[data-lane=vocals]").dataset.url);
"""


def test_the_original_is_compared_as_loud_as_the_mix(
    server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page]
) -> None:
    """By fingers alone, on a phone whose headphones have buttons."""
    page = open_page(server, owner, viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    page.add_init_script("""
      window.buttons = {};
      navigator.mediaSession.setActionHandler = (action, press) => (window.buttons[action] = press);""")
    page.route("**/original_source.js", lambda route: route.fulfill(body=ORIGINAL, content_type="text/javascript"))
    mixer = Mixer.open(page, tones)
    title = page.title()
    tap(mixer.part("loop"))  # there is always more of the song, however slow the machine is
    page.evaluate("buttons.play({})")
    mixer.expect("playing")
    expect(page).to_have_title(f"▶ {title}")
    assert page.evaluate("navigator.mediaSession.metadata.title") == "tones.wav"
    mixer.until_heard(ALL)
    tap(mixer.part("original"))
    expect(mixer.root).to_have_attribute("data-original-heard", "")
    expect(mixer.root.locator("[data-lane][data-muted]")).to_have_count(len(STEMS))
    mixer.until_heard(dict.fromkeys(STEMS, 0.0))
    assert mixer.until(lambda moment: abs(moment.mix - TONE_LEVEL) < 0.06 * TONE_LEVEL)
    tap(mixer.part("original"))
    mixer.until_heard(dict.fromkeys(STEMS, 0.5))
    tap(mixer.part("original"))
    tap(mixer.lane("vocals", "mute"))
    expect(mixer.part("original")).to_have_attribute("aria-pressed", "false")
    mixer.until_heard(ALL | {"vocals": 0.0})
    mixer.part("preset").select_option("a cappella")
    mixer.until_heard(dict.fromkeys(STEMS, 0.0) | {"vocals": 1.0})
    page.evaluate("buttons.seekto({ seekTime: 0 })")  # for the loop goes, too
    tap(mixer.part("reset"))
    mixer.until_heard(ALL)
    page.evaluate("buttons.seekto({ seekTime: 3 })")
    page.evaluate("buttons.nexttrack({})")
    mixer.until(lambda moment: 8 <= moment.position < 14)
    page.evaluate("buttons.pause({})")
    mixer.expect("paused")
    expect(page).to_have_title(title)


def test_without_an_original_nothing_is_compared(mixer: Mixer) -> None:
    expect(mixer.part("original")).to_be_hidden()
    mixer.page.keyboard.press("b")
    expect(mixer.root).not_to_have_attribute("data-original-heard", "")


def test_what_is_nothing_is_not_exported_and_what_may_clip_is_told(mixer: Mixer) -> None:
    page, address, note = mixer.page, mixer.page.url, mixer.part("export-note")
    for stem in STEMS:
        mixer.lane(stem, "mute").click()
    mixer.export("This mix").click()
    expect(note).to_have_text("Every stem is silent: there is nothing to export.")
    for stem in STEMS:
        mixer.part("exports").get_by_label(stem.capitalize()).uncheck()
    mixer.export("These stems in one file").click()
    expect(note).to_have_text("Choose one stem at least.")
    assert page.url == address
    full = {stem: b64encode(bytes([255] * 4)).decode() for stem in STEMS}
    page.route("**/peaks", lambda route: route.fulfill(json={"stems": full}))
    page.reload()
    mixer.expect("ready")
    mixer.part("preset").select_option("a cappella")
    mixer.lane("vocals", "volume").fill("125")
    with page.expect_download() as download:
        mixer.export("This mix").click()
    download.value.delete()
    expect(note).to_contain_text("up to 1.9 dB above full scale")
