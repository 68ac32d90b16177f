"""README and documentation: links and files that they name exist, and pictures show what is written."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from ezstems import config
from ezstems.remote import VARIABLES
from ezstems.web.site.manual import DOCS, PAGES
from ezstems.web.site.markdown import headings, slug
from tests.benchmarks import plot
from tests.support.servers import ROOT

README = ROOT / "README.md"
DOCUMENTS = (README, *(DOCS / f"{name}.md" for name in PAGES), ROOT / "ezstems" / "builtin" / "MODEL.md")
# Modules beside the rooms whose names say enough.
OWN_STORIES = {"__init__", "cli", "database_server", "database_watch", "gunicorn_conf", "home"}
MAX_PICTURE_BYTES = 200 * 1024


def links(document: Path) -> list[str]:
    """Return where the links and pictures of a document lead."""
    tokens = MarkdownIt("commonmark").enable("table").parse(document.read_text())
    inline = [child for token in tokens for child in token.children or ()]
    targets = [child.attrGet("href") or child.attrGet("src") for child in inline]
    return [str(target) for target in targets if target]


def anchors(document: Path) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(document.read_text())
    return [slug(heading) for _, heading in headings(tokens)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_their_headings(document: Path) -> None:
    for link in links(document):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.is_relative_to(ROOT) and target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_they_name_is_there(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^    )make ([a-z]+)", text, re.MULTILINE)) <= targets
    for name in re.findall(r"\b(?:tests|ezstems)/[\w/]+\.(?:py|conf|service|md)\b", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"python -m (tests[\w.]+)", text):
        assert (ROOT / f"{name.replace('.', '/')}.py").exists(), name
    settings = {config.PREFIX + setting.name for setting in (config.INSTANCE, *config.SETTINGS)} | {*VARIABLES}
    assert set(re.findall(r"\bEZSTEMS_[A-Z_]*[A-Z]\b(?!_)", text)) - settings <= {"EZSTEMS_LOGIN"}


def test_the_readme_leads_to_every_page_in_their_order() -> None:
    listed = README.read_text().partition("## Read on")[2]
    assert re.findall(r"\(ezstems/docs/([a-z]+)\.md\)", listed) == [*PAGES]


def test_every_room_is_named_to_who_contributes() -> None:
    house = (DOCS / "contributing.md").read_text().partition("## How to add")[0]
    named = set(re.findall(r"`(?:tests/)?([a-z]+)/?`", house))
    rooms = [path for top in ("ezstems", "tests") for path in (ROOT / top).iterdir() if path.is_dir()]
    assert {room.name for room in rooms if not room.name.startswith("__")} <= named
    assert {path.stem for path in (ROOT / "ezstems").glob("*.py")} - OWN_STORIES <= named


def test_the_plot_shows_the_table() -> None:
    table = plot.TABLE.read_text()
    drawn = plot.plot(table)
    assert plot.PLOT.read_text() == drawn, "python -m tests.benchmarks.plot"
    found = list(plot.rows(table))
    assert len(found) == len(re.findall(r"^\| \S.* \d", table, re.MULTILINE)) == 6
    assert all(f">{printed}</text>" in drawn for row in found for printed in row.printed)
    bars = [float(width) for width in re.findall(r'y="\d+" width="([\d.]+)" height="14"', drawn)]
    ratios = [other / own for own, other in zip(bars[::2], bars[1::2], strict=True)]
    assert ratios == pytest.approx([row.sizes[1] / row.sizes[0] for row in found], rel=0.01)
    assert max(bars) == plot.BAR


def test_the_ratios_of_the_table_are_its_figures() -> None:
    for line in re.findall(r"^\| \S.* \d.*", plot.TABLE.read_text(), re.MULTILINE):
        (row,) = plot.rows(line)
        assert float(line.split("|")[4]) == pytest.approx(row.sizes[1] / row.sizes[0], rel=0.06)


def test_the_picture_of_the_mixer_is_small() -> None:
    picture = (DOCS / "mixer.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) <= MAX_PICTURE_BYTES
