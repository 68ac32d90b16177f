"""Tables in Markdown on stdout, and on stderr what is going on."""

import sys
from collections.abc import Sequence

NOTHING = "-"


def tell(text: str) -> None:
    """Say what is going on."""
    print(text, file=sys.stderr, flush=True)


def line(*cells: str) -> None:
    """Print one row."""
    print(f"| {' | '.join(cells)} |", flush=True)


def head(*names: str) -> None:
    """Print the row of the names, and the one below it."""
    line(*names)
    line(*["---"] * len(names))


def faster(what: str, seconds: Sequence[float], least: float) -> None:
    """Print how many times faster we (the first) are than Spleeter (the second, if any), and whether that is enough."""
    ours, *theirs = seconds
    if theirs:
        ratio = theirs[0] / ours
        compared = (f"{theirs[0]:.2f} s", f"{ratio:.3g}x", f">= {least:g}x", _yes(ratio >= least))
    else:
        compared = (NOTHING, NOTHING, f">= {least:g}x", NOTHING)
    line(what, f"{ours:.2f} s", *compared)


def within(what: str, ours: float, most: float, unit: str, theirs: float | None = None) -> None:
    """Print a figure that has a limit."""
    digits = 0 if most >= 100 else 2
    compared = (NOTHING, NOTHING) if theirs is None else (f"{theirs:.{digits}f} {unit}", f"{theirs / ours:.3g}x")
    line(what, f"{ours:.{digits}f} {unit}", *compared, f"<= {most:g} {unit}", _yes(ours <= most))


def alike(what: str, figures: str, ratio: float, most: float) -> None:
    """Print the ratio of two figures of ours that has a limit."""
    line(what, figures, NOTHING, f"{ratio:.2f}", f"<= {most:g}", _yes(ratio <= most))


def _yes(is_met: bool) -> str:
    return "yes" if is_met else "no"
