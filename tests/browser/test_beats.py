"""Beats in a real browser: the guess and its correction, the click at its very frame, the count-in."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.browser.mixers import TONES_SECONDS, Mixer
from tests.browser.visitors import Visitor
from tests.support.servers import Server

RATE_HZ = 44_100
BPM = 96.0  # the demo's
# What is given to the sound card, but for what came too late, and is begun again: when, how long, and where in it a
# click begins.
LISTEN = """
  const started = new Map();
  const { start } = AudioBufferSourceNode.prototype;
  AudioBufferSourceNode.prototype.start = function (when, ...more) {
    started.set(this, { frame: Math.round(when * 44100), buffer: this.buffer });
    return start.call(this, when, ...more);
  };
  const { stop } = AudioScheduledSourceNode.prototype;
  AudioScheduledSourceNode.prototype.stop = function (when, ...more) {
    if (when < this.context.currentTime) started.delete(this);
    return stop.call(this, when, ...more);
  };
  window.takeStarted = () => {
    const blocks = [...started.values()].map(({ frame, buffer }) => {
      const clicks = [];
      buffer.getChannelData(0).forEach((value, i) => value > 0.4 && !(i < clicks.at(-1) + 2000) && clicks.push(i));
      return { frame, frames: buffer.length, clicks };
    });
    started.clear();
    return blocks;
  };
"""
# Tap at some milliseconds of the page's clock.
TAP = """(button, times) => {
  for (const time of times) {
    performance.now = () => time;
    button.click();
  }
  delete performance.now;
}"""


def scheduled(mixer: Mixer) -> list[dict[str, Any]]:
    """Return the click's blocks that were given to the sound card since the last call: it is the last stem."""
    found: list[dict[str, Any]] = mixer.page.evaluate("window.takeStarted()")
    all_stems = mixer.root.locator("[data-lane]").count() + 1
    assert len(found) % all_stems == 0
    for at in range(0, len(found), all_stems):
        block = found[at : at + all_stems]
        assert len({(node["frame"], node["frames"]) for node in block}) == 1  # all in step
    return found[all_stems - 1 :: all_stems]


def test_beats_are_guessed_corrected_and_clicked(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server)
    page.add_init_script(LISTEN)
    page.goto("/")
    mixer = Mixer(page)
    mixer.expect("ready")
    expect(mixer.part("beats-text")).to_have_text("96 BPM · C major")
    mixer.part("beats").locator("summary").click()
    beats = page.evaluate("fetch('/static/demo/peaks.json').then((response) => response.json())")["tempo"]["beats"]

    # Every beat of what is scheduled clicks, at its frame.
    mixer.part("click").click()
    mixer.play()
    mixer.until(lambda moment: moment.position > 0.5)
    blocks = scheduled(mixer)
    assert sum(block["frames"] for block in blocks) >= 8 * RATE_HZ
    clicks = [block["frame"] + place - blocks[0]["frame"] for block in blocks for place in block["clicks"]]
    assert clicks == [int(beat * RATE_HZ + 0.5) for beat in beats if beat * RATE_HZ < sum(b["frames"] for b in blocks)]
    mixer.part("play").click()
    mixer.expect("paused")

    # Twice the tempo, then one's own, and a key; all of it is there on the next visit, and can be taken back.
    mixer.part("bpm-double").click()
    expect(page.locator("[data-announce]")).to_have_text("191.6 BPM")
    expect(mixer.part("bpm")).to_have_value("191.6")
    mixer.part("bpm").fill("96")
    mixer.part("bpm").press("Enter")
    mixer.part("bpm").fill("900")
    mixer.part("bpm").press("Enter")
    expect(mixer.part("bpm")).to_have_value("96")
    expect(mixer.part("beats-note")).to_have_text("A tempo is 30 to 300 BPM.")
    mixer.part("song-key").select_option("A minor")
    mixer.part("click").click()
    mixer.part("count-in").click()
    page.reload()
    mixer.expect("ready")
    expect(mixer.part("beats-text")).to_have_text("96 BPM · A minor")
    expect(mixer.part("click")).to_have_attribute("aria-pressed", "false")
    expect(mixer.part("count-in")).to_have_attribute("aria-pressed", "true")

    # A bar is counted in while the song waits, which follows the fourth click as a beat would.
    mixer.part("play").click()
    moments = mixer.follow(0.5, lambda moments: moments[-1].state == "playing")
    assert next(each.position for each in moments if each.state == "playing") == 0
    mixer.until(lambda moment: moment.position > 0)
    lead, first, *_ = scheduled(mixer)
    step = RATE_HZ * 60 / BPM
    assert lead["frames"] == round(4 * step) and lead["clicks"] == [int(number * step + 0.5) for number in range(4)]
    assert first["frame"] == lead["frame"] + lead["frames"] and first["clicks"] == []
    mixer.part("play").click()
    mixer.expect("paused")

    # By keys: a bar begins where the song is, the click is on; the guess comes back.
    mixer.part("beats").locator("summary").click()
    page.keyboard.press("Escape")
    expect(mixer.part("beats")).not_to_have_attribute("open", "")
    expect(mixer.part("beats").locator("summary")).to_be_focused()
    page.keyboard.press("c")
    expect(mixer.part("click")).to_have_attribute("aria-pressed", "true")
    mixer.part("beats").locator("summary").click()
    mixer.part("beats-reset").click()
    expect(mixer.part("beats-text")).to_have_text("96 BPM · C major")
    expect(mixer.part("bpm")).to_have_value("95.8")


def forget_music(route: Route) -> None:
    """Answer as for a song that was separated before tempo and key were heard."""
    peaks = route.fetch().json()
    assert peaks.pop("tempo") is None and peaks.pop("key") is None
    route.fulfill(json=peaks)


def test_a_song_without_a_guess_is_tapped_looped_on_beats_and_clicked_at_another_tempo(
    server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(server, owner, viewport={"width": 390, "height": 800})
    page.add_init_script(LISTEN)
    page.route("**/peaks", forget_music)
    mixer = Mixer.open(page, tones)
    expect(mixer.part("beats-text")).to_have_text("Beats")
    page.keyboard.press("c")
    expect(mixer.part("beats-note")).to_be_in_viewport()
    expect(mixer.part("beats-note")).to_have_text("No tempo was found in the sound: set it, or tap it.")
    for name in ("click", "count-in", "snap", "beat-one"):
        mixer.part(name).click()
        expect(page.locator("[data-announce]")).to_have_text("The song's tempo isn't known yet: set or tap it first")
    assert mixer.root.locator(".beats [aria-pressed=true]").count() == 0

    mixer.part("tap").evaluate(TAP, [1000, 1400])
    expect(mixer.part("beats-text")).to_have_text("Beats")
    mixer.part("tap").evaluate(TAP, [1800])
    expect(mixer.part("beats-text")).to_have_text("150 BPM")
    mixer.part("bpm").fill("100")
    mixer.part("bpm").press("Enter")

    # A loop that is there goes to the nearest beats, as does every edge that is set after that.
    text = mixer.part("loop-text")
    step_seconds = 60 / 100

    def put(start_seconds: float, end_seconds: float) -> None:
        for name, seconds in (("loop-start", start_seconds), ("loop-end", end_seconds)):
            mixer.part("seek").fill(str(seconds))
            mixer.part(name).click()

    put(3.1, 7.0)
    expect(text).to_have_text("0:03.1 – 0:07.0")
    mixer.part("snap").click()
    expect(mixer.part("snap")).to_have_attribute("aria-pressed", "true")
    expect(text).to_have_text("0:03.0 – 0:07.2")
    put(8.0, 11.0)
    expect(text).to_have_text("0:07.8 – 0:10.8")
    ruler = mixer.part("ruler")
    ruler.scroll_into_view_if_needed()
    box = ruler.bounding_box()
    x = {seconds: box["x"] + seconds / TONES_SECONDS * box["width"] for seconds in (1.3, 5.0, 6.5)}
    page.mouse.move(x[1.3], box["y"] + 5)
    page.mouse.down()
    page.mouse.move(x[5.0], box["y"] + 5)
    expect(text).to_have_text("0:01.2 – 0:04.8")
    page.mouse.move(x[6.5], box["y"] + 5)
    page.mouse.up()
    expect(text).to_have_text("0:01.2 – 0:06.6")

    # The click's volume is set without a break in what plays, and remembered.
    mixer.part("click").click()
    mixer.play()
    mixer.until(lambda moment: moment.position > 1.5)
    given = scheduled(mixer)
    for percent in ("70", "20", "30"):
        mixer.part("click-volume").fill(percent)
    page.wait_for_timeout(300)
    blocks = [given[-1], *scheduled(mixer)]
    assert all(after["frame"] >= before["frame"] + before["frames"] for before, after in pairwise(blocks)), blocks
    kept = page.evaluate("song => JSON.parse(localStorage[`mixer.${song}`]).values.beats", tones)
    assert kept["volume"] == 0.3 and kept["isOn"] and not kept["countsIn"]
    mixer.part("play").click()
    mixer.expect("paused")

    # The click is in step at another tempo, round after round.
    mixer.part("tempo").fill("80")
    mixer.part("tempo").dispatch_event("change")
    mixer.part("seek").fill("1.2")
    scheduled(mixer)
    mixer.play()
    mixer.until(lambda moment: moment.position > 1.5)
    clicks, frames = [], 0
    blocks = scheduled(mixer)
    for block in blocks:
        clicks += [frames + place for place in block["clicks"]]
        frames += block["frames"]
    assert all(abs(0.8 * place - number * step_seconds * RATE_HZ) < 1.25 for number, place in enumerate(clicks)), clicks
    assert len(clicks) > 9 + 1  # more than a round
    mixer.part("play").click()
    mixer.expect("paused")

    page.keyboard.press("g")
    expect(mixer.part("snap")).to_have_attribute("aria-pressed", "false")
    put(3.1, 7.0)
    expect(text).to_have_text("0:03.1 – 0:07.0")
