"""A real Chromium, headless, a server whose stems are known, and a watch on what must not happen on any page."""

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.browser.mixers import TONES_SECONDS
from tests.browser.visitors import Visitor, silence
from tests.support.servers import Server

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
PATIENCE_MS = 60_000  # machines are slow, and shared


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Start the browser; its driver leaves the package's tests an event loop, and the others none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("Chromium is not installed")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def known_server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server whose separator writes known stems."""
    instance = tmp_path_factory.mktemp("browser") / "instance"
    with Server(instance, "tests.browser.known_wsgi:app", webhooks="on", webhook_hosts="127.0.0.1") as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def server(known_server: Server) -> Iterator[Server]:
    """Return the server; no test leaves another one its songs to separate, or what it told the separator."""
    yield known_server
    for name in ("failure", "hold", "percent"):
        (known_server.instance / name).unlink(missing_ok=True)
    deadline = time.monotonic() + 60
    while known_server.rows("SELECT id FROM jobs WHERE status IN ('queued', 'processing')"):
        assert time.monotonic() < deadline, known_server.log.read_text()[-4000:]
        time.sleep(0.05)


@pytest.fixture(scope="package")
def owner(known_server: Server) -> Visitor:
    """Return a visitor whose songs tests share, and only look at."""
    return Visitor(known_server, "owner@example.com")


@pytest.fixture
def trouble() -> list[str]:
    """Return what happened that must not: a test takes out what it provoked itself."""
    return []


@pytest.fixture
def open_context(browser: Browser, trouble: list[str]) -> Iterator[Callable[..., BrowserContext]]:
    """Return an opener of fresh profiles for a server; options are Playwright's. At the end no page had any trouble."""
    contexts: list[BrowserContext] = []

    def opened(server: Server, visitor: Visitor | None = None, **options: Any) -> BrowserContext:
        context = browser.new_context(base_url=server.url, **({"viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)

        def listen(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                trouble.append(f"{message.type} on {message.location['url']}: {message.text}")

        def look(request: Request) -> None:
            if not request.url.startswith((f"{server.url}/", f"blob:{server.url}/")):
                trouble.append(f"asked another host: {request.url}")

        context.on("console", listen)
        context.on("weberror", lambda error: trouble.append(f"uncaught on {error.page.url}: {error.error}"))
        context.on("request", look)
        if visitor is not None:
            visitor.lend(context)
        return context

    yield opened
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture
def open_page(open_context: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """Return an opener of pages, each in a fresh profile."""
    return lambda *arguments, **options: open_context(*arguments, **options).new_page()


@pytest.fixture(scope="package")
def tones(owner: Visitor) -> str:
    """Return a finished song of four tones, 20 seconds long."""
    return owner.wait(owner.upload("tones.wav", silence(TONES_SECONDS)))
