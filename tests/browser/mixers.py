"""The mixer of a page, as a test drives and reads it."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.known_stems import AMPLITUDE

STEMS = ("vocals", "drums", "bass", "other")
TONES_SECONDS = 20.0
TAP_MS = 3000  # between a tap and its click
# An analyser averages both channels, of which the right one is half as loud.
TONE_LEVEL = 0.75 * AMPLITUDE / 32768 / sqrt(2)

# Before the page's own scripts: keep the context of its sound, whose clock is the sound card's.
KEEP_CARD = """
  window.AudioContext = class extends AudioContext {
    constructor(...values) {
      super(...values);
      window.card = this;
    }
  };"""
_READ = """(root) => ({
  seconds: performance.now() / 1000,
  card: window.card?.currentTime ?? 0,
  state: root.dataset.state,
  position: Number(root.dataset.position),
  levels: JSON.parse(root.dataset.levels ?? "{}"),
  mix: Number(root.dataset.mixLevel ?? 0),
})"""
_WATCH_CLICK = """(element) =>
  element.addEventListener("click", () => (element.dataset.tapped = ""), { once: true })"""
_FOLLOW = f"""async (root, seconds) => {{
  const moments = [];
  const read = {_READ};
  const observer = new MutationObserver(() => moments.push(read(root)));
  observer.observe(root, {{ attributes: true, attributeFilter: ["data-position"] }});
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  observer.disconnect();
  return moments;
}}"""


@dataclass(frozen=True)
class Moment:
    """Hold what the mixer told at a time of the page's clock, and of the sound card's where that is kept."""

    seconds: float
    card: float
    state: str
    position: float
    levels: dict[str, float]
    mix: float


def wraps(moments: Sequence[Moment]) -> int:
    """Count how often the song went back."""
    return sum(after.position < before.position for before, after in pairwise(moments))


def speed(moments: Sequence[Moment]) -> float:
    """Return how many of the song's seconds pass in one of the card, which stutters where the machine is busy."""
    steps = [(after.position - before.position, after.card - before.card) for before, after in pairwise(moments)]
    return median(played / passed for played, passed in steps if passed > 0)


class Listener:
    """Read what a mixer tells, in whatever browser."""

    def __init__(self, evaluate: Callable[..., Any], wait: Callable[[int], None]) -> None:
        """Take what calls a function with the mixer's section, and what waits for milliseconds."""
        self._evaluate = evaluate
        self._wait = wait

    def now(self) -> Moment:
        """Read what the mixer tells."""
        return Moment(**self._evaluate(_READ))

    def follow(self, seconds: float, is_enough: Callable[[list[Moment]], object] = bool) -> list[Moment]:
        """Read every change of the position for a while, on a busy machine longer: until it is enough, one at least."""
        moments: list[Moment] = []
        deadline = time.monotonic() + 60
        while not moments or not is_enough(moments):
            assert time.monotonic() < deadline, moments
            moments += [Moment(**moment) for moment in self._evaluate(_FOLLOW, seconds)]
        return moments

    def until(self, condition: Callable[[Moment], bool], seconds: float = 60.0) -> Moment:
        """Wait until the mixer tells what a condition wants; return it."""
        deadline = time.monotonic() + seconds
        while not condition(moment := self.now()):
            assert time.monotonic() < deadline, moment
            self._wait(50)
        return moment

    def until_heard(self, gains: dict[str, float]) -> None:
        """Wait until every tone sounds at its gain."""

        def is_heard(moment: Moment) -> bool:
            wanted = {stem: TONE_LEVEL * gain for stem, gain in gains.items()}
            # The analyser's window holds no whole number of periods.
            return moment.levels.keys() == wanted.keys() and all(
                abs(level - wanted[stem]) <= 0.06 * wanted[stem] for stem, level in moment.levels.items()
            )

        self.until(is_heard)


class Mixer(Listener):
    """Drive the mixer of a song's page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator("[data-mixer]")
        super().__init__(self.root.evaluate, page.wait_for_timeout)

    @classmethod
    def open(cls, page: Page, job_id: str) -> "Mixer":
        """Open a finished song and wait until it can be played."""
        page.goto(f"/songs/{job_id}")
        mixer = cls(page)
        mixer.expect("ready")
        return mixer

    def expect(self, state: str) -> None:
        """Wait for a state."""
        expect(self.root).to_have_attribute("data-state", state)

    def part(self, name: str) -> Locator:
        """Find a part of the toolbar or of what is below the lanes."""
        return self.root.locator(f":not([data-lane] *)[data-part={name}]")

    def lane(self, stem: str, part: str) -> Locator:
        """Find a part of a lane."""
        return self.root.locator(f"[data-lane={stem}] [data-part={part}]")

    def wave(self, stem: str, fraction: float) -> dict[str, Any]:
        """Return where a place of a song is on a lane's waveform, for `click` and the mouse."""
        box = self.lane(stem, "wave").bounding_box()
        return {"x": box["width"] * fraction, "y": box["height"] / 2}

    def export(self, name: str, output: str = "wav") -> Locator:
        """Choose a format in the opened panel of exports; return the button of that name beside it."""
        if not self.part("exports").evaluate("panel => panel.open"):
            self.part("exports").locator("summary").click()
        button = self.part("exports").get_by_role("button", name=name, exact=True)
        form = self.part("exports").locator("form").filter(has=self.page.get_by_role("button", name=name, exact=True))
        form.get_by_label("Format").select_option(output)
        return button

    def play(self) -> None:
        """Press the button, and wait until the song sounds."""
        self.part("play").click()
        self.expect("playing")


def tap(target: Locator) -> None:
    """Tap until it clicks: a machine that is too busy takes a tap for a long press, which does nothing."""
    target.evaluate(_WATCH_CLICK)
    for _ in range(10):
        target.tap()
        # A click that came after the next tap would be one too many.
        with suppress(AssertionError):
            expect(target).to_have_attribute("data-tapped", "", timeout=TAP_MS)
            target.evaluate("(element) => element.removeAttribute('data-tapped')")
            return
    raise AssertionError(f"{target} takes no tap")
