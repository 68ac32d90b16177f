"""What is seen of songs outside the page: the tab's title, and notices for who wants them; the site as an app."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.visitors import Visitor
from tests.support.servers import Server

# A headless browser shows no notices; what it would show is kept.
KEEP_NOTICES = """
window.notices = [];
window.Notification = class extends EventTarget {
  static permission = "default";
  static requestPermission() { return Promise.resolve((Notification.permission = "granted")); }
  constructor(title, { body, tag }) {
    super();
    window.notices.push([title, body, tag]);
    document.documentElement.dataset.noticed = "";
  }
};
"""


def test_the_title_tells_how_far_songs_are_and_a_notice_that_one_is_done(
    server: Server, open_context: Callable[..., BrowserContext]
) -> None:
    visitor = Visitor(server, "tab@example.com")
    visitor.wait(visitor.upload("old.wav"))
    server.hold()
    (server.instance / "percent").write_text("40")
    first, second = (visitor.upload(f"{name}.wav") for name in ("first", "second"))
    context = open_context(server, visitor)
    context.add_init_script(KEEP_NOTICES)
    for path, name in (("/upload", "Upload"), ("/songs", "Songs")):
        page = context.new_page()
        page.goto(path)
        expect(page).to_have_title(f"40 % · 1 waiting · {name} · EzStems")
    upload, songs = context.pages
    button = upload.get_by_role("button", name="Tell me when done")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert upload.evaluate("Notification.permission") == "default", "nobody is asked who didn't ask for it"
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    (server.instance / f"let-{first}").touch()
    expect(upload).to_have_title("40 % · Upload · EzStems")
    assert upload.evaluate("window.notices") == [["first.wav", "Done", first]]
    button.click()
    (server.instance / "failure").write_text("The file is broken.")
    (server.instance / f"let-{second}").touch()
    for page, name in ((upload, "Upload"), (songs, "Songs")):
        expect(page).to_have_title(f"{name} · EzStems")
        expect(page.get_by_role("article").filter(has_text="second.wav")).to_contain_text("The file is broken.")
    assert len(upload.evaluate("window.notices")) == 1, "whoever switched it off again is left alone"
    assert songs.evaluate("window.notices") == []


STORAGES = {
    "denied": "get localStorage() { throw new DOMException('denied', 'SecurityError'); }",
    "full": "localStorage: { getItem: () => null, setItem() { throw new Error('full'); } }",
}


@pytest.mark.parametrize("storage", STORAGES)
def test_a_browser_that_keeps_nothing_still_follows_songs_and_gives_notice(
    server: Server, open_context: Callable[..., BrowserContext], storage: str
) -> None:
    visitor = Visitor(server, f"{storage}@example.com")
    server.hold()
    song = visitor.upload("song.wav")
    context = open_context(server, visitor)
    instead = f"Object.getOwnPropertyDescriptors({{{STORAGES[storage]}}})"
    context.add_init_script(f"{KEEP_NOTICES}Object.defineProperties(window, {instead});")
    pages = [context.new_page() for _ in range(3)]
    for page, path in zip(pages, ("/upload", "/songs", f"/songs/{song}"), strict=True):
        page.goto(path)
        button = page.get_by_role("button", name="Tell me when done")
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page).to_have_title(re.compile("^0 % · "))  # of what it never saw under way it tells nothing
    (server.instance / f"let-{song}").touch()
    for page in pages:
        expect(page.locator("html")).to_have_attribute("data-noticed", "")
        assert page.evaluate("window.notices") == [["song.wav", "Done", song]]


def test_notices_are_offered_only_where_they_may_be_shown(
    server: Server, open_context: Callable[..., BrowserContext]
) -> None:
    context = open_context(server, Visitor(server, "no-notices@example.com"))
    context.add_init_script(KEEP_NOTICES.replace('"default"', '"denied"'))
    page = context.new_page()
    page.goto("/upload")
    expect(page.get_by_role("heading", name="Upload")).to_be_visible()
    expect(page.get_by_text("Separate", exact=True)).to_be_enabled()
    expect(page.get_by_text(re.compile("Tell me when"))).to_be_hidden()


def test_the_site_can_be_installed(server: Server, open_context: Callable[..., BrowserContext]) -> None:
    context = open_context(server)
    page = context.new_page()
    page.goto("/")
    devtools = context.new_cdp_session(page)
    manifest = devtools.send("Page.getAppManifest")
    assert manifest["errors"] == [] and manifest["url"].endswith("/static/manifest.webmanifest")
    errors = devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [error["errorId"] for error in errors] == ["in-incognito"], "which a test's profile always is"
