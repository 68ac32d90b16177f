"""Markdown as HTML of the site: headings to link to, links between pages, and nothing that could run."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

PAGE = re.compile(r"([a-z]+)\.md(#[\w-]+)?")


class Page(NamedTuple):
    """Hold a page's first heading and its HTML."""

    title: str
    html: str


def render(text: str) -> Page:
    """Render a page; raw HTML in it is shown as text."""
    # No table may align its columns: that is an inline style, which the pages' policy forbids.
    markdown = MarkdownIt("commonmark", {"html": False, "xhtmlOut": False}).enable("table")
    for kind in ("fence", "code_block"):
        markdown.add_render_rule(kind, _code)
    tokens = markdown.parse(text)
    found = list(headings(tokens))
    for token, heading in found:
        token.attrSet("id", slug(heading))
    _label_cells(tokens)
    for token in tokens:
        if token.children:
            token.children = list(_linked(token.children))
    return Page(found[0][1], markdown.renderer.render(tokens, markdown.options, {}))


def headings(tokens: Sequence[Token]) -> Iterator[tuple[Token, str]]:
    """Yield each heading's token and its text."""
    for token, inline in zip(tokens, tokens[1:], strict=False):
        if token.type == "heading_open":
            yield token, "".join(child.content for child in inline.children or ())


def slug(heading: str) -> str:
    """Name a heading's anchor, as GitHub does."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _label_cells(tokens: Sequence[Token]) -> None:
    """Name each cell's column, which a phone shows beside it; a row's first cell heads the row."""
    names: list[str] = []
    column = 0
    for token, inline in zip(tokens, tokens[1:], strict=False):
        if token.type == "thead_open":
            names = []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            names.append(inline.content)
        elif token.type == "td_open":
            if column:
                token.attrSet("data-label", names[column])
            column += 1


def _linked(tokens: Sequence[Token]) -> Iterator[Token]:
    """Let links lead to the pages' own addresses, and make text of those that lead to files outside."""
    outside = False
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrGet("href"))
            page = PAGE.fullmatch(target)
            outside = not page and not target.startswith(("#", "https://"))
            if page:
                token.attrSet("href", page[1] + (page[2] or ""))
        if not (outside and token.type in ("link_open", "link_close")):
            yield token
        outside = outside and token.type != "link_close"


def _code(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    # What is wider than the screen is scrolled, which those without a mouse can do where it takes the focus.
    return f'<pre tabindex="0"><code>{escapeHtml(tokens[index].content)}</code></pre>\n'
