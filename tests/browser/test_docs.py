"""The API's page: short until one opens what one looks for, which a search in the page does as well."""

from collections.abc import Callable
from urllib.parse import quote

from playwright.sync_api import Page, expect

from tests.support.servers import Server

HEIGHT = "document.documentElement.scrollHeight"


def test_what_is_folded_is_found_and_takes_half_the_height(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto("/docs")
        folded = page.evaluate(HEIGHT)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert folded <= 0.5 * page.evaluate(HEIGHT), width
    # As a search in the page does, a link to a text finds what is in no open part.
    error = page.locator("details.more li").first
    expect(page.locator("#program-php")).to_have_attribute("hidden", "until-found")
    for text, found in ((error.text_content(), error), ("json_decode", page.get_by_role("tabpanel", name="PHP"))):
        page.goto("about:blank")
        page.goto(f"/docs#:~:text={quote(text, safe='').replace('-', '%2D')}")
        expect(found).to_be_visible()
