"""The documentation page: what it shows, how it is built, and that its programs run as printed."""

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from tests.support.openapi import served
from tests.support.servers import Server

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
VOID = ("br", "hr", "img", "input", "link", "meta")
# The program that runs each sample, the name that the page gives its file, and how.
LANGUAGES = {
    "curl": ("bash", "stems.sh"),
    "python": (sys.executable, "stems.py"),
    "node": ("node", "stems.mjs"),
    "php": ("php", "stems.php"),
}
NEEDS = {"curl": "curl"}


class Page(HTMLParser):
    """Take a page apart: its elements in order, the text of those with an id, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.headings: list[int] = []
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in HEADINGS:
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, f"</{tag}> ends nothing"

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page(client: FlaskClient) -> Page:
    """Return the page as everybody sees it."""
    answer = client.get("/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    return Page(answer.text)


def test_it_shows_every_call_with_its_parameters_answers_and_errors(client: FlaskClient, page: Page) -> None:
    document = served(client)
    text = " ".join(page.texts["main"].split())
    for path, calls in document["paths"].items():
        for method in {"get", "post", "delete"} & set(calls):
            call = calls[method]
            assert f"{call['summary']}: {method.upper()} {path}" in text
            names = [each["name"] for each in call.get("parameters", ())]
            for content in call.get("requestBody", {}).get("content", {}).values():
                names += content["schema"]["properties"]
            for answer in call["responses"].values():
                assert answer["description"].replace("`", "") in text
                for example in answer.get("content", {}).get("application/json", {}).get("examples", {}).values():
                    for word in re.findall(r"[^\s{}\[\]]+", str(example["value"].get("message", ""))):
                        assert word in text
            assert all(name in text for name in names)
    assert all(name.removeprefix("optional.") in text for name in document["components"]["headers"])
    assert '"download_url": "/api/v1/download.php?id=1699567234_2"' in text
    assert page.texts["base-url"] == "http://localhost/api/v1"
    links = [each.get("href") for each in page.all("a")]
    assert "/account" in links and "/api/openapi.json" in links


def test_it_shows_this_servers_limits(make_app: Callable[..., Flask]) -> None:
    app = make_app(rate_limit=12_345, rate_window_seconds=60, max_duration_seconds=600, retention_hours=1)
    text = app.test_client().get("/docs").text
    for part in ("12345 calls in 1 minute", "10 minutes", "1 hour<", "basic 30 MB, premium 40 MB, pro 75 MB"):
        assert part in text, part


def test_every_sample_is_for_the_server_that_is_asked(client: FlaskClient) -> None:
    for base in ("http://localhost", "https://stems.example", "https://a.example:8443/my-stems"):
        page = Page(client.get("/docs", base_url=base).text)
        assert page.texts["base-url"] == f"{base}/api/v1"
        for language in LANGUAGES:
            sample = page.texts[f"sample-{language}"]
            assert sample.count(f"{base}/api/v1") == sample.count("://") == 1
            assert sample.count("YOUR_API_KEY") == sample.count("song.mp3") == 1
        prefix = base.removeprefix("https://a.example:8443") if "my-stems" in base else ""
        assert f"{prefix}/api/openapi.json" in [each.get("href") for each in page.all("a")]


def test_it_is_built_for_everybody(page: Page) -> None:
    assert page.headings.count(1) == 1 and page.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    ids = Counter(attributes["id"] for _, attributes in page.elements if attributes.get("id"))
    assert max(ids.values()) == 1, ids.most_common(3)
    targets = [each["href"] for each in page.all("a") if (each.get("href") or "").startswith("#")]
    assert len(targets) > 5 and all(target[1:] in ids for target in targets)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("aria-labelledby", "aria-describedby", "aria-controls"):
            assert all(target in ids for target in (attributes.get(name) or "").split())
    assert all(each["tabindex"] == "0" and each["data-copy"] for each in page.all("pre"))
    assert len(page.all("pre")) > 10
    assert not page.all("style") and page.all("script") == [{"type": "module", "src": "/static/docs.js"}]
    assert [each for each in page.all("p") if each.get("role") == "status" and each.get("id") == "copied"]
    for cell in page.all("th"):
        assert cell["scope"] in ("row", "col")


def test_without_its_script_the_languages_are_sections(page: Page) -> None:
    sections = [each["id"] for each in page.all("section") if (each.get("id") or "").startswith("program-")]
    assert sections == [f"program-{language}" for language in LANGUAGES]
    for _, attributes in page.elements:
        assert "hidden" not in attributes and attributes.get("role") not in ("tab", "tablist", "tabpanel")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """Return a server whose separations take no time, and a key."""
    with Server(tmp_path_factory.mktemp("docs") / "instance", FAST_SECONDS=0.5) as server:
        yield server, server.key()


def run(language: str, text: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program in a folder, as the page says."""
    program, name = LANGUAGES[language]
    for needed in (program, NEEDS.get(language, program)):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    (folder / name).write_text(text)
    environ = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return subprocess.run(
        [program, name], cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@contextmanager
def original(server: Server) -> Iterator[Callable[[], bool]]:
    """Let a server be as the one that came first, and hold its separations; yield what tells whether it was asked."""
    before = len(server.log.read_text())
    try:
        (server.instance / "original").touch()
        server.hold()
        yield lambda: "GET '/api/v1/status.php' 200 " in server.log.read_text()[before:]
    finally:
        server.release()
        (server.instance / "original").unlink()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_gets_its_stems_as_printed(
    server: tuple[Server, str], song: bytes, tmp_path: Path, language: str
) -> None:
    page = Page(requests.get(f"{server[0].url}/docs", timeout=30).text)
    assert f"<code>{Path(LANGUAGES[language][0]).name}"
    text = page.texts[f"sample-{language}"].replace("song.mp3", "my song.wav")
    (tmp_path / "my song.wav").write_bytes(song)

    refused = run(language, text, tmp_path)
    assert refused.returncode != 0 or language == "curl"
    assert "The API key is unknown or deactivated" in refused.stdout + refused.stderr
    assert not (tmp_path / "stems.zip").exists()

    done = run(language, text.replace("YOUR_API_KEY", server[1]), tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "completed" in done.stdout
    assert done.stdout.count("created_at") == 1, "it is told of the end as soon as that is there, by one call"
    (tmp_path / "stems.zip").unlink()
    with original(server[0]) as asked, ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, language, text.replace("YOUR_API_KEY", server[1]), tmp_path)
        while not (running.done() or asked()):
            time.sleep(0.05)
        server[0].release()
        done = running.result()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.count("created_at") > 1, "of a server that doesn't wait it asks again"
    with zipfile.ZipFile(tmp_path / "stems.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["vocals.wav", "drums.wav", "bass.wav", "other.wav"]
