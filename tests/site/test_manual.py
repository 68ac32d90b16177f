"""The pages beside the API's: each is shown, says what the others are, and every link in it leads somewhere."""

import re
from collections import Counter

import pytest
from flask.testing import FlaskClient

from ezstems.web.headers import POLICY
from ezstems.web.site.manual import DOCS, IMAGES, PAGES
from ezstems.web.site.markdown import render
from tests.site.test_docs import HEADINGS, Page


def shown(client: FlaskClient, path: str) -> Page:
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html"), path
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "style=" not in answer.text and "<style" not in answer.text
    return Page(answer.text)


def test_every_file_is_a_page_or_a_picture() -> None:
    assert {path.name for path in DOCS.iterdir()} == {f"{name}.md" for name in PAGES} | {*IMAGES}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_built(client: FlaskClient, name: str) -> None:
    """It has one title, no heading is skipped, and it marks itself in the list of all pages."""
    page = shown(client, f"/docs/{name}")
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert max(ids.values()) == 1, ids
    assert all("id" in attributes for tag, attributes in page.elements if tag in HEADINGS)
    listed = [link["href"] for link in page.all("a") if re.fullmatch("/docs(/[a-z]+)?", link["href"])]
    assert listed[-len(PAGES) :] == [f"/docs/{each}" for each in PAGES]
    assert [link["href"] for link in page.all("a") if link.get("aria-current") == "page"] == [f"/docs/{name}"]
    assert all(image["alt"] or image["src"].endswith("icon.svg") for image in page.all("img"))
    assert all(block["tabindex"] == "0" for block in page.all("pre"))


def test_every_link_and_picture_leads_somewhere(client: FlaskClient) -> None:
    pages = {f"/docs/{name}": shown(client, f"/docs/{name}") for name in PAGES}
    followed = set()
    for path, page in pages.items():
        for link in page.all("a"):
            target, _, anchor = link["href"].partition("#")
            if target.startswith("https://") or link["href"] == "#main":
                continue
            where = target if target.startswith("/") else f"/docs/{target}" if target else path
            assert client.get(where).status_code == 200, f"{path}: {link['href']}"
            if anchor:
                assert anchor in {attributes.get("id") for _, attributes in pages[where].elements}, f"{path}: {anchor}"
            followed.add(link["href"])
        for image in page.all("img"):
            source = image["src"] if image["src"].startswith("/") else f"/docs/{image['src']}"
            assert client.get(source).mimetype in ("image/png", "image/svg+xml"), f"{path}: {source}"
    assert {"deployment#accounts", "settings", "retention#damage", "recovery#when-a-start-is-refused"} & followed
    assert client.get("/docs").text.count('href="/docs/deployment"') == 1


@pytest.mark.parametrize("name", IMAGES)
def test_pictures_are_files_that_browsers_keep(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/docs/{name}")
    assert (answer.status_code, answer.data) == (200, (DOCS / name).read_bytes())
    assert answer.headers["ETag"] and "no-store" not in answer.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["nothing", "settings.md", "Settings", "..%2Fconfig.py", "speed.svg%00", "settings/"])
def test_an_unknown_page_is_none(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/docs/{name}")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")


def test_raw_html_is_text() -> None:
    html = render("# T\n\n<script>alert(1)</script>\n\na <b onclick=x>c</b> [d](javascript:e)\n").html
    assert "<script" not in html and "<b" not in html and "href" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_headings_get_the_anchors_that_github_gives_them() -> None:
    page = render("# What is kept, and for how long\n\n## When `a start` isn't refused: 2-fold\n")
    assert page.title == "What is kept, and for how long"
    assert '<h1 id="what-is-kept-and-for-how-long">' in page.html
    assert '<h2 id="when-a-start-isnt-refused-2-fold">' in page.html


def test_links_lead_to_pages_and_those_to_other_files_are_text() -> None:
    html = render("# T\n\n[a](settings.md) [b](limits.md#the-box) [`c`](../deploy/nginx.conf) [d](#t) [e](https://f.g)\n").html
    assert re.findall('href="([^"]+)"', html) == ["settings", "limits#the-box", "#t", "https://f.g"]
    assert '<code>c</code> <a href="#t">d</a>' in html


def test_a_cell_names_its_column() -> None:
    html = render("# T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n| c | d |\n| --- | --- |\n| 3 | `4` |\n").html
    assert re.findall("<td[^<]*", html) == ["<td>1", '<td data-label="b">2', "<td>3", '<td data-label="d">']
