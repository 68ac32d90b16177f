"""What the mixer's graph makes at a tempo and in a key, rendered by a real browser, to the frame."""

from base64 import b64decode
from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.support.servers import Server

RATE_HZ = 44_100
FIRST_FRAME = 9_000
BLOCKS = [44_100 + 37 * number for number in range(5)]
TONES_HZ = (440, 4_000, 10_000, 12_000)
MOST_CENTS = 10
# The mixer's own graph in a context that renders into memory: what goes into the node that moves the pitch, or what
# comes out at the end.
RENDER = """async ({ stretch, stems, blocks, first, seconds, isSum }) => {
  const RATE_HZ = 44100;
  let context;
  globalThis.AudioContext = class extends OfflineAudioContext {
    constructor() {
      super(2, Math.round(seconds * RATE_HZ), RATE_HZ);
      context = this;
    }
    async resume() {}
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...more) {
    if (isSum && to instanceof AudioDestinationNode) return to;
    if (isSum && this instanceof GainNode && to instanceof AudioWorkletNode) connect.call(this, context.destination);
    return connect.call(this, to, ...more);
  };
  const { Graph } = await import("/static/mixer/graph.js");
  const graph = new Graph(stems.length);
  let failure = null;
  graph.stretchFailed = (problem) => (failure = problem);
  await graph.setStretch(stretch);
  await graph.wake();
  if (failure) throw failure;
  const ends = [];
  let at = first;
  for (const frames of blocks) {
    const pcm = stems.map(({ level, tones, factor }) => {
      const block = new Float32Array(2 * frames);
      for (let i = 0; i < frames; i += 1) {
        let value = level;
        for (const hz of tones) value += 0.1 * Math.sin((2 * Math.PI * hz * (at - first + i)) / RATE_HZ);
        block[2 * i] = block[2 * i + 1] = factor * value;
      }
      return [block];
    });
    graph.start(graph.prepare(pcm), at);
    at += frames;
    ends.push(Math.round(at / stretch.tempo));
  }
  const latency = Math.round((graph.frame - graph.heardFrame) / stretch.tempo);
  const rendered = await context.startRendering();
  const bytes = new Uint8Array(rendered.getChannelData(0).buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return { pcm: btoa(text), begin: Math.round(first / stretch.tempo), ends, latency };
}"""


def renderer(evaluate: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return what renders stems, each a constant and tones; `evaluate` calls a function in a fresh page of the site."""

    def rendered(tempo: float, semitones: int, *stems: dict[str, Any], is_sum: bool = False) -> dict[str, Any]:
        wanted = {
            "stretch": {"tempo": tempo, "semitones": semitones},
            "stems": [{"level": 0, "tones": [], "factor": 1} | stem for stem in stems],
            "blocks": BLOCKS,
            "first": FIRST_FRAME,
            "seconds": (FIRST_FRAME + sum(BLOCKS)) / tempo / RATE_HZ + 0.5,
            "isSum": is_sum,
        }
        answer = evaluate(RENDER, wanted)
        return answer | {"pcm": np.frombuffer(b64decode(answer["pcm"]), np.float32)}

    return rendered


@pytest.fixture
def render(known_server: Server, open_page: Callable[..., Page]) -> Callable[..., dict[str, Any]]:
    """Return what renders stems in a page under the site's own policy."""

    def evaluate(function: str, wanted: dict[str, Any]) -> dict[str, Any]:
        page = open_page(known_server)
        page.goto("/login")
        return page.evaluate(function, wanted)

    return renderer(evaluate)


def heard_hz(pcm: np.ndarray, near_hz: float) -> float:
    """Return the frequency of the strongest tone within three semitones of one."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)), 4 * len(pcm)))
    hz = np.fft.rfftfreq(4 * len(pcm), 1 / RATE_HZ)
    spectrum[np.abs(np.log2(np.maximum(hz, 1) / near_hz)) > 3 / 12] = 0
    return float(hz[int(np.argmax(spectrum))])


@pytest.mark.parametrize("tempo", [0.53, 0.8, 1.37])
def test_blocks_join_without_a_gap_or_a_frame_twice(render: Callable[..., dict[str, Any]], tempo: float) -> None:
    made = render(tempo, 0, {"level": 0.5}, is_sum=True)
    pcm, begin, end = made["pcm"], made["begin"], made["ends"][-1]
    wrong = [int(frame) for frame in np.flatnonzero(pcm[begin:end] != 0.5)]
    assert wrong == [], (wrong, [each - begin for each in made["ends"]])
    assert not pcm[:begin].any() and not pcm[end:].any()


def test_stems_stay_in_step_at_a_tempo(render: Callable[..., dict[str, Any]]) -> None:
    """Were one stem a frame late, or played at another rate, the two would not cancel out."""
    tones = {"tones": TONES_HZ}
    assert np.ptp(render(0.8, 0, tones, {}, is_sum=True)["pcm"]) > 0.2
    both = render(0.8, 0, tones, tones | {"factor": -1}, is_sum=True)
    assert not both["pcm"].any()


@pytest.mark.parametrize(("tempo", "semitones"), [(0.5, 0), (0.8, 0), (1.5, 0), (1, 3), (1.2, -6)])
def test_pitch_and_length_are_right_up_to_the_treble(
    render: Callable[..., dict[str, Any]], tempo: float, semitones: int
) -> None:
    made = render(tempo, semitones, {"tones": TONES_HZ})
    begin, end = made["begin"] + made["latency"], made["ends"][-1] + made["latency"]
    middle = made["pcm"][begin + RATE_HZ : begin + 3 * RATE_HZ]
    for tone_hz in TONES_HZ:
        wanted = tone_hz * 2 ** (semitones / 12)
        cents = 1200 * log2(heard_hz(middle, wanted) / wanted)
        assert abs(cents) <= MOST_CENTS, (tone_hz, cents)

    def level(start_ms: int, end_ms: int, frame: int) -> float:
        part = made["pcm"][frame + start_ms * RATE_HZ // 1000 : frame + end_ms * RATE_HZ // 1000]
        return float(np.sqrt(np.mean(part**2)))

    loud = float(np.sqrt(np.mean(middle**2)))
    assert level(-100, -60, begin) < 0.1 * loud < 0.5 * loud < level(60, 100, begin)
    assert level(60, 100, end) < 0.1 * loud < 0.5 * loud < level(-60, -20, end), "its last moments, and no more"


def test_as_it_is_every_sample_is_the_stem_s_own(render: Callable[..., dict[str, Any]]) -> None:
    made = render(1, 0, {"tones": TONES_HZ})
    frames = np.arange(sum(BLOCKS))
    stem = sum(0.1 * np.sin(2 * np.pi * hz * frames / RATE_HZ) for hz in TONES_HZ).astype(np.float32)
    assert made["latency"] == 0
    pcm = made["pcm"][FIRST_FRAME : FIRST_FRAME + len(stem)]
    assert np.abs(pcm - stem).max() < 1e-6
    assert not made["pcm"][FIRST_FRAME + len(stem) :].any()
