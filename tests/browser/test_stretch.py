"""Tempo and key are changed in a real browser: what is heard, how fast, and where that can't be."""

import json
import re
import time
from collections.abc import Callable
from math import log2

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.known_stems import CYCLES, PERIOD_SAMPLES
from tests.browser.mixers import STEMS, Mixer, speed, wraps
from tests.browser.visitors import Visitor
from tests.support.servers import Server

RATE_HZ, WINDOW = 44_100, 32_768
VOCALS_HZ = CYCLES["vocals"] * RATE_HZ / PERIOD_SAMPLES
# What goes to the loudspeaker, to be looked at; and what changed while a fade to silence wasn't over.
TAP = f"""
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...more) {{
    if (to instanceof AudioDestinationNode) {{
      window.card = this.context;
      window.tap = new AnalyserNode(this.context, {{ fftSize: {WINDOW} }});
      connect.call(this, window.tap);
    }}
    return connect.call(this, to, ...more);
  }};
  window.early = [];
  const clock = Object.getOwnPropertyDescriptor(BaseAudioContext.prototype, "currentTime");
  let readSeconds = 0; // when the page looked last; a busy machine may stop it between that and what it does then
  const get = function () {{ return (readSeconds = clock.get.call(this)); }};
  Object.defineProperty(BaseAudioContext.prototype, "currentTime", {{ ...clock, get }});
  let silentSeconds = 0;
  const note = (what) => window.tap?.context.currentTime < silentSeconds && window.early.push(what);
  const before = (type, name, act) => {{
    const method = type.prototype[name];
    type.prototype[name] = function (...values) {{ act(...values); return method.apply(this, values); }};
  }};
  before(AudioParam, "setTargetAtTime", (value, from, ease) => {{
    if (value !== 0) return;
    silentSeconds = from + 6 * ease;
    // The card is ahead of the clock that a page reads: a fade that begins now would begin with a jump.
    if (window.tap && from < readSeconds + 0.02) window.early.push("fade");
  }});
  before(AudioNode, "disconnect", () => note("path"));
  before(MessagePort, "postMessage", (data) => Array.isArray(data) && data.includes("schedule") && note("pitch"));"""
READ = f"() => {{ const pcm = new Float32Array({WINDOW}); tap.getFloatTimeDomainData(pcm); return [...pcm]; }}"
# Change a control while it plays, and look at every sample around that: how sharp the sharpest bend is, and the level
# of the quietest hundredth of a second.
CHANGE = f"""async (root, [name, value]) => {{
  const pcm = new Float32Array({WINDOW});
  let [bend, quietest] = [0, Infinity];
  const look = () => {{
    tap.getFloatTimeDomainData(pcm);
    for (let i = 2; i < pcm.length; i += 1) bend = Math.max(bend, Math.abs(pcm[i] - 2 * pcm[i - 1] + pcm[i - 2]));
    for (let i = 0; i + 441 <= pcm.length; i += 441) {{
      quietest = Math.min(quietest, Math.max(...pcm.subarray(i, i + 441).map(Math.abs)));
    }}
  }};
  const slider = root.querySelector(`[data-part=${{name}}]`);
  slider.value = value;
  slider.dispatchEvent(new Event("change"));
  // On a busy machine it takes longer until it plays again.
  for (let [turn, playing] = [0, 0]; turn < 8 || playing < 4; turn += 1) {{
    await new Promise((resolve) => setTimeout(resolve, 120));
    look();
    playing = root.dataset.state === "playing" ? playing + 1 : 0;
  }}
  return [bend, quietest];
}}"""
MOST_CENTS = 10
# A click is a jump of up to twice the tone's 0.12; the tone itself bends by 0.0006, what moves it by 0.004 at most.
MOST_BEND = 0.02


@pytest.fixture
def mixer(server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page]) -> Mixer:
    """Return the mixer of the song of tones, whose sound is tapped."""
    page = open_page(server, owner)
    page.add_init_script(TAP)
    return Mixer.open(page, tones)


def heard_hz(mixer: Mixer, near_hz: float) -> float:
    """Return the frequency of the strongest tone within three semitones of one."""
    pcm = np.array(mixer.page.evaluate(READ)) * np.hanning(WINDOW)
    spectrum = np.abs(np.fft.rfft(pcm, 8 * WINDOW))
    hz = np.fft.rfftfreq(8 * WINDOW, 1 / RATE_HZ)
    spectrum[np.abs(np.log2(np.maximum(hz, 1) / near_hz)) > 3 / 12] = 0
    return float(hz[int(np.argmax(spectrum))])


def expect_pitch(mixer: Mixer, tone_hz: float, semitones: float) -> None:
    """Wait until a tone is heard so many semitones higher."""
    wanted = tone_hz * 2 ** (semitones / 12)
    cents: list[float] = []
    deadline = time.monotonic() + 60
    while not cents or abs(cents[-1]) > MOST_CENTS:
        assert time.monotonic() < deadline, cents
        mixer.page.wait_for_timeout(250 if cents else 0)
        cents.append(1200 * log2(heard_hz(mixer, wanted) / wanted))


def set_slider(mixer: Mixer, name: str, value: int) -> None:
    mixer.part(name).fill(str(value))
    mixer.part(name).dispatch_event("change")


def test_tempo_and_key_together_and_apart(mixer: Mixer) -> None:
    page, tone = mixer.page, VOCALS_HZ
    loaded = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert len(loaded) > 10 and not any("signalsmith" in name for name in loaded), "not before it is asked for"
    mixer.part("loop").click()  # there is always more of the song, however slow the machine is
    mixer.play()
    mixer.lane("vocals", "solo").click()
    expect_pitch(mixer, tone, 0)
    set_slider(mixer, "tempo", 80)
    expect(mixer.part("tempo-text")).to_have_text("80 %")
    mixer.expect("playing")
    expect_pitch(mixer, tone, 0)
    assert speed(mixer.follow(3, lambda moments: len(moments) > 5)) == pytest.approx(0.8, abs=0.08)
    set_slider(mixer, "semitones", 3)
    mixer.expect("playing")
    expect_pitch(mixer, tone, 3)
    mixer.part("tempo").dblclick()
    expect(mixer.part("tempo-text")).to_have_text("100 %")
    expect_pitch(mixer, tone, 3)
    page.keyboard.press(",")
    expect(mixer.part("semitones-text")).to_have_text("+2")
    # It is this song's, the next time, too; and the loop is played at it.
    again = Mixer.open(page, page.url.rpartition("/")[2])
    expect(again.part("semitones-text")).to_have_text("+2")
    set_slider(again, "tempo", 150)
    again.part("seek").fill("8")
    page.keyboard.press("i")
    again.part("seek").fill("9.5")
    page.keyboard.press("o")
    again.play()
    positions = [each.position for each in again.follow(3, wraps)]
    assert all(7.99 <= position <= 9.51 for position in positions), positions
    expect_pitch(again, tone, 2)
    again.part("stretch-reset").click()
    expect(again.part("tempo-text")).to_have_text("100 %")
    again.expect("playing")
    expect_pitch(again, tone, 0)


def test_a_change_while_it_plays_makes_no_click(mixer: Mixer) -> None:
    mixer.lane("vocals", "solo").click()
    mixer.play()
    for name, value in [("semitones", 3), ("semitones", 0), ("tempo", 80), ("tempo", 90), ("tempo", 100)]:
        mixer.part("seek").fill("0")  # the song's end is no change
        mixer.until(lambda moment: moment.state == "playing" and moment.position > 1)
        bend, quietest = mixer.root.evaluate(CHANGE, [name, value])
        assert quietest < 0.001, "the change was seen"
        assert bend < MOST_BEND, (name, value, bend)
        assert mixer.page.evaluate("early") == [], (name, value)


def test_where_it_can_not_be_had_the_song_plays_as_it_is(
    server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page], trouble: list[str]
) -> None:
    page = open_page(server, owner)
    page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false });")
    mixer = Mixer.open(page, tones)
    expect(mixer.part("stretch-note")).to_have_text(re.compile("need a page that came over https"))
    for name in ("tempo", "semitones", "stretch-reset"):
        expect(mixer.part(name)).to_be_disabled()
    page.keyboard.press("[")
    expect(mixer.part("tempo-text")).to_have_text("100 %")

    page = open_page(server, owner)
    page.route("**/SignalsmithStretch.mjs", lambda route: route.abort())
    mixer = Mixer.open(page, tones)
    mixer.play()
    set_slider(mixer, "tempo", 80)
    expect(page.get_by_role("alert")).to_contain_text("Tempo and key can't be changed")
    expect(mixer.part("tempo-text")).to_have_text("100 %")
    mixer.expect("playing")
    mixer.until_heard(dict.fromkeys(STEMS, 1.0))
    assert json.dumps(trouble).count("SignalsmithStretch") >= 1
    trouble.clear()
