"""Draw the table of speeds as a picture beside it: `python -m tests.benchmarks.plot`."""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parents[2] / "ezstems" / "docs"
TABLE, PLOT = DOCS / "speed.md", DOCS / "speed.svg"
ROW = re.compile(r"\| ([^|]+) \| ([\d.]+) (s|MB|GB) \| ([\d.]+) (s|MB|GB) \|")
SIZES = {"s": 1.0, "MB": 1.0, "GB": 1000.0}
WIDTH, BAR, ROW_HEIGHT = 480, 400, 62
# Grounds are the reader's: a middle grey is 4.5:1 on white and on black, and a dark page gets lighter ones.
STYLE = """text { font: 14px system-ui, sans-serif; fill: #57606a } .own { fill: #4040c8 } .other { fill: #8c8c99 }
@media (prefers-color-scheme: dark) { text { fill: #b4bccb } .own { fill: #a9a9ff } .other { fill: #737a8c } }"""


class Row(NamedTuple):
    """Hold one line of the table: what was measured, and each side's figure as printed and as a number."""

    what: str
    printed: tuple[str, str]
    sizes: tuple[float, float]
    is_time: bool


def rows(table: str) -> Iterator[Row]:
    """Yield what the table compares."""
    for what, own, own_unit, other, other_unit in ROW.findall(table):
        sizes = float(own) * SIZES[own_unit], float(other) * SIZES[other_unit]
        yield Row(what.replace("`", ""), (f"{own} {own_unit}", f"{other} {other_unit}"), sizes, own_unit == "s")


def plot(table: str) -> str:
    """Draw two bars a row; times share one scale, sizes another."""
    found = list(rows(table))
    most = {kind: max(max(row.sizes) for row in found if row.is_time == kind) for kind in (True, False)}
    height = ROW_HEIGHT * len(found) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>",
    ]
    for index, name in enumerate(("EzStems", "Spleeter")):
        lines.append(f'<rect class="{("own", "other")[index]}" x="{110 * index}" y="6" width="12" height="12"/>')
        lines.append(f'<text x="{110 * index + 18}" y="17">{name}</text>')
    for number, row in enumerate(found):
        y = 30 + ROW_HEIGHT * number
        lines.append(f'<text x="0" y="{y + 18}">{escape(row.what)}</text>')
        for index, (size, printed) in enumerate(zip(row.sizes, row.printed, strict=True)):
            width, top = round(BAR * size / most[row.is_time], 1), y + 24 + 16 * index
            lines.append(f'<rect class="{("own", "other")[index]}" x="0" y="{top}" width="{width}" height="14"/>')
            lines.append(f'<text x="{width + 6}" y="{top + 12}">{printed}</text>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PLOT.write_text(plot(TABLE.read_text(encoding="utf-8")), encoding="utf-8")
