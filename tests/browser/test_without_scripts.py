"""Everything but the mixer works without JavaScript: forms, and pages that one loads again."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.mixers import STEMS
from tests.browser.visitors import Visitor, silence
from tests.support.servers import PASSWORD, Server

NEW_PASSWORD = "an even better password"


@pytest.fixture
def open_page(open_context: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """Return an opener of pages that run no scripts."""
    return lambda *arguments: open_context(*arguments, java_script_enabled=False).new_page()


def log_in(page: Page, email: str, password: str) -> None:
    """Fill in the login's form."""
    page.goto("/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()


def test_an_account(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server)
    page.goto("/register")
    page.get_by_label("E-mail").fill("plain@example.com")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Make an account").click()
    page.wait_for_url("**/upload")
    page.get_by_role("link", name="Account").click()

    page.get_by_label("Name of a new key").fill("by hand")
    page.get_by_role("button", name="Make a key").click()
    key = page.get_by_role("textbox", name="API key").input_value()
    header = {"Authorization": f"Bearer {key}"}
    assert requests.get(f"{server.api}/keys.php", headers=header, timeout=60).status_code == 200
    page.goto("/account")
    row = page.get_by_role("row").filter(has_text="by hand")
    row.get_by_text("Rename").click()
    row.get_by_label("New name").fill("renamed")
    row.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="renamed")
    row.get_by_text("Deactivate").first.click()
    row.get_by_role("button", name="Deactivate for good").click()
    expect(row).to_contain_text("deactivated")
    assert requests.get(f"{server.api}/keys.php", headers=header, timeout=60).status_code == 401

    page.get_by_role("link", name="Change the password").click()
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_text("The password is changed.")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    log_in(page, "plain@example.com", PASSWORD)
    expect(page.get_by_text("E-mail address or password is wrong.")).to_be_visible()
    log_in(page, "plain@example.com", NEW_PASSWORD)
    page.wait_for_url("**/upload")


def test_a_song(server: Server, open_page: Callable[..., Page], tmp_path: Path) -> None:
    visitor = Visitor(server, "plain-songs@example.com")
    page = open_page(server)
    log_in(page, visitor.email, PASSWORD)
    page.wait_for_url("**/upload")
    server.hold()
    (server.instance / "percent").write_text("40")
    page.get_by_label("Drop songs here").set_input_files(
        {"name": "plain.wav", "mimeType": "audio/wav", "buffer": silence(1)}
    )
    page.get_by_label("Stems").select_option("4")
    page.get_by_role("button", name="Separate").click()
    page.wait_for_url("**/songs/*")
    song = page.url.rpartition("/")[2]
    # Playwright finds no texts inside of these.
    expect(page.locator("noscript > p")).to_have_text("Load this page again to see how far it is.")
    expect(page.locator("noscript > p")).to_be_visible()
    while not page.get_by_text("Separating: 40 %").is_visible():
        page.wait_for_timeout(200)
        page.reload()
    server.release()
    visitor.wait(song)
    page.reload()
    expect(page.locator("noscript > p")).to_have_text(re.compile("Without it each stem plays on its own"))
    expect(page.locator("[data-mixer] button, canvas").locator("visible=true")).to_have_count(0)
    players = page.locator("audio")
    expect(players).to_have_count(len(STEMS))
    for player in players.all():
        expect(player).to_be_visible()
        expect(player).to_have_js_property("duration", 1)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download vocals").click()
    assert download.value.suggested_filename.endswith("vocals.wav")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download ZIP").click()
    download.value.save_as(tmp_path / "stems.zip")
    with zipfile.ZipFile(tmp_path / "stems.zip") as archive:
        assert archive.namelist() == [f"plain - {stem}.wav" for stem in STEMS]
    page.get_by_text("Export…").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Without vocals").click()
    assert download.value.suggested_filename == "plain - without vocals.wav"

    page.get_by_role("link", name="Songs", exact=True).click()
    page.get_by_role("searchbox").fill("plain")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("article")).to_have_count(1)
    expect(page.locator("time").first).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d UTC$"))
    page.get_by_role("article").locator("summary").click()
    page.get_by_role("button", name="Delete plain.wav").click()
    expect(page.get_by_text("No songs yet.")).to_be_visible()
    assert list(server.instance.glob(f"results/{song}*")) == []
