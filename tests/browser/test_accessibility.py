"""Every page, light and dark, on phone, tablet and desk: readable by everybody, and never wider than the screen.

Where the environment names a folder in SCREENSHOTS, it gets a picture of each.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, TimeoutError

from ezstems.web.site.manual import PAGES
from tests.browser import axe
from tests.browser.gallery import NO_PAGE, every_page
from tests.clients.programs import Unavailable
from tests.support.servers import Server

WIDTHS = (390, 768, 1280)
SETTLED_MS = 5000
# The page's, or what it would be if a table that stands out of its place made it wider.
WIDTH = """() => {
    const edge = (element) => element.getBoundingClientRect().right;
    const inner = (parent) => edge(parent) - parseFloat(getComputedStyle(parent).paddingRight);
    const tables = [...document.querySelectorAll("table")].filter((table) => table.checkVisibility());
    const outside = tables.map((table) => edge(table) - inner(table.parentElement));
    return document.documentElement.scrollWidth + Math.max(0, ...outside.map(Math.floor));
}"""
FINGER_PIXELS = 44
# What a finger can't press well; links within a text are its words. A label is pressed in place of its box.
SMALL = f"""() => [
  ...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary, canvas")]
  .map((each) => (each.matches("[type=checkbox], [type=radio]") ? each.labels[0] : each))
  .filter((each) => each.checkVisibility())
  .filter((each) => !each.matches(".visually-hidden, .skip, :is(p, li, td, dd) > a:not(.button)"))
  .filter((each) => each.getBoundingClientRect().height < {FINGER_PIXELS} - 0.5)
  .map((each) => `${{each.outerHTML.slice(0, 120)}}: ${{each.getBoundingClientRect().height}}`)"""


def test_every_page_is_for_everybody(server: Server, open_page: Callable[..., Page], trouble: list[str]) -> None:
    unavailable = None
    try:
        axe.script()
    except Unavailable as error:
        unavailable = str(error)
    names, wide, small, wrong = [], [], [], []
    for name, page in every_page(server, open_page):
        names.append(name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function("(width) => innerWidth === width", arg=width)
            if page.evaluate(WIDTH) > width:
                wide.append(f"{name}, {width}")
            if width == WIDTHS[0]:
                with suppress(TimeoutError):  # what the page's scripts lay out comes a frame later
                    page.wait_for_function(f"({SMALL})().length === 0", timeout=SETTLED_MS)
                small += [f"{name}: {what}" for what in page.evaluate(SMALL)]
            for scheme in () if unavailable else ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                wrong += [f"{name}, {width}, {scheme}: {what}" for what in axe.violations(page)]
                if folder := os.environ.get("SCREENSHOTS"):
                    file = f"{name.strip('/').replace('/', '-') or 'landing'}-{width}-{scheme}.png"
                    page.screenshot(path=Path(folder) / file, full_page=True)
    assert len(names) == 24
    trouble.remove(next(each for each in trouble if f"{NO_PAGE}: " in each and "status of 404" in each))
    assert wide == []
    assert small == []
    assert wrong == []
    if unavailable:
        pytest.skip(f"{unavailable}: only the pages' widths were looked at")


def test_no_page_of_the_documentation_is_wider_than_a_phone(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server, viewport={"width": WIDTHS[0], "height": 900})
    for name in PAGES:
        page.goto(f"/docs/{name}")
        assert page.evaluate(WIDTH) <= WIDTHS[0], name
