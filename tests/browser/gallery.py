"""Every page in every state that it can be in, for tests that look at all of them."""

import re
from collections.abc import Callable, Iterator

from playwright.sync_api import Page, expect

from tests.browser.dropping import drop
from tests.browser.mixers import Mixer
from tests.browser.visitors import Visitor, silence
from tests.support.servers import Server

# Longer than a phone is wide, and without a place to break.
LONG_NAME = f"{'Donaudampfschifffahrtsgesellschaftskapitänsmütze' * 3}.wav"
LONG_EMAIL = f"{'a-long-address' * 4}@{'sub.' * 10}example.com"
NO_PAGE = "/no-page"
HOOK = f"http://127.0.0.1:9/{'hook' * 50}"
FAILURE = f"The file is broken: {'x' * 100}"


def strangers_pages(page: Page) -> Iterator[str]:
    """Show each page for those without an account; yield its name while it is there."""
    for path in ("/", "/login", "/register", "/docs", "/docs/deployment", "/docs/speed", NO_PAGE):
        page.goto(path)
        yield path
    page.goto("/login")
    page.get_by_label("E-mail").fill("nobody@example.com")
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield "a failed login"
    page.goto("/register")
    page.get_by_label("E-mail").fill(LONG_EMAIL)
    page.get_by_label("Password", exact=True).fill(LONG_EMAIL)
    page.get_by_role("button", name="Make an account").click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield "a failed registration"


class Songs:
    """Hold the ids of songs, one in each state."""

    def __init__(self, server: Server, visitor: Visitor) -> None:
        self.mixed = visitor.wait(visitor.upload(LONG_NAME, stems=5, webhook_url=HOOK))
        (server.instance / "failure").write_text(FAILURE)
        self.failed = visitor.wait(visitor.upload("failed.wav"), "failed")
        (server.instance / "failure").unlink()
        (server.instance / "percent").write_text("40")
        server.hold()
        self.running = visitor.upload("running.wav")
        self.queued = [visitor.upload(name) for name in ("queued.wav", LONG_NAME)][-1]


def account_pages(page: Page, songs: Songs) -> Iterator[str]:
    """Show each page of an account; yield its name while it is there."""
    page.goto("/account")
    page.get_by_label("Name of a new key").fill("W" * 64)
    page.get_by_role("button", name="Make a key").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    yield "a new key"
    page.get_by_role("button", name="Done, I stored it").click()
    expect(page.get_by_role("row").last).to_contain_text("active")
    for summary in page.locator("summary").all():
        summary.click()
    yield "/account"
    page.goto("/account/webhook")
    while not page.get_by_role("button", name="Send again").count():  # it is being sent just now
        page.reload()
    page.get_by_label("URL for all jobs").fill(HOOK)
    for summary in page.locator("summary").all():
        summary.click()
    yield "/account/webhook"
    page.goto("/password")
    yield "/password"
    page.goto("/upload")
    expect(page.get_by_role("article").filter(has_text="running.wav")).to_contain_text("Separating: 40 %")
    drop(page, "[data-dropzone]", {LONG_NAME: silence(1), "notes.txt": b"no song"})
    yield "/upload"
    page.goto("/songs")
    expect(page.get_by_text("Separating: 40 %")).to_be_visible()
    yield "/songs"
    page.get_by_role("article").last.locator("summary").click()
    yield "a song's menu"
    page.get_by_role("button", name=f"Delete {LONG_NAME}").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    yield "a question"
    page.goto(f"/songs?q={'x' * 255}")
    yield "a search in vain"
    page.goto(f"/songs/{songs.running}")
    expect(page.get_by_text("Separating: 40 %")).to_be_visible()
    yield "a running song"
    page.goto(f"/songs/{songs.queued}")
    expect(page.get_by_text(re.compile("Waiting: number 2"))).to_be_visible()
    yield "a queued song"
    page.goto(f"/songs/{songs.failed}")
    yield "a failed song"
    mixer = Mixer.open(page, songs.mixed)
    mixer.lane("drums", "solo").click()
    mixer.part("loop").click()
    page.keyboard.press("ArrowDown")
    yield "a song's mixer"
    mixer.part("beats").locator("summary").click()
    expect(mixer.part("click")).to_be_visible()
    yield "the mixer's beats"
    page.keyboard.press("Escape")
    mixer.part("keys").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    yield "the mixer's keys"


def every_page(server: Server, open_page: Callable[..., Page]) -> Iterator[tuple[str, Page]]:
    """Show every page; yield its name and itself."""
    page = open_page(server, reduced_motion="reduce")
    for name in strangers_pages(page):
        yield name, page
    visitor = Visitor(server, LONG_EMAIL)
    page = open_page(server, visitor, reduced_motion="reduce")
    for name in account_pages(page, Songs(server, visitor)):
        yield name, page
