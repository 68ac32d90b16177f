"""Beats in a real browser: the guess and its correction, the click at its very frame, the count-in."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.mixers import Mixer
from tests.support.servers import Server

RATE_HZ = 44_100
STEMS = 5
BPM = 96.0  # the demo's
# What is given to the sound card: when, how long, and where in it a click begins.
LISTEN = """
  window.started = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (when, ...more) {
    const { buffer } = this;
    const samples = buffer.getChannelData(0);
    const clicks = [];
    samples.forEach((value, i) => value > 0.78 && (i === 0 || samples[i - 1] === 0) && clicks.push(i));
    window.started.push({ frame: Math.round(when * 44100), frames: buffer.length, clicks });
    return start.call(this, when, ...more);
  };
"""


def scheduled(mixer: Mixer) -> list[dict[str, Any]]:
    """Return the click's blocks that were given to the sound card since the last call: it is the last stem."""
    found: list[dict[str, Any]] = mixer.page.evaluate("window.started.splice(0)")
    assert len(found) % (STEMS + 1) == 0
    for at in range(0, len(found), STEMS + 1):
        block = found[at : at + STEMS + 1]
        assert len({(node["frame"], node["frames"]) for node in block}) == 1  # all in step
    return found[STEMS :: STEMS + 1]


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
    expect(mixer.part("bpm")).to_have_value("191.6")
    mixer.part("bpm").fill("96")
    mixer.part("bpm").press("Enter")
    mixer.part("bpm").fill("900")
    mixer.part("bpm").press("Enter")
    expect(mixer.part("bpm")).to_have_value("96")
    mixer.part("song-key").select_option("A minor")
    mixer.part("click").click()
    mixer.part("count-in").click()
    page.reload()
    mixer.expect("ready")
    expect(mixer.part("beats-text")).to_have_text("96 BPM · A minor")
    expect(mixer.part("click")).to_have_attribute("aria-pressed", "false")
    expect(mixer.part("count-in")).to_have_attribute("aria-pressed", "true")

    # A bar is counted in while the song waits, which follows the fourth click as a beat would.
    mixer.play()
    assert mixer.now().position == 0
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
