"""The first page's demo: a song that comes with EzStems, already separated, for whoever has no account yet.

Its files are the website's own, so that nothing of it asks the database or the queue.
"""

from dataclasses import dataclass
from typing import Any

from flask import url_for

from ezstems.jobs import FORMATS, STEMS, Format

SECONDS = 10.0
STEM_NAMES = STEMS[5]


@dataclass(frozen=True)
class Demo:
    """Hold what the mixer's templates show of a song."""

    id: str = "demo"
    name: str = "EzStems demo"
    output: Format = FORMATS["mp3"]
    seconds: float = SECONDS


def demo_url(endpoint: str, **values: Any) -> str:
    """Return a URL as the mixer's templates ask for it, with the demo's files in the place of a song's."""
    if values.get("job_id") != Demo.id:
        return url_for(endpoint, **values)
    if endpoint == "stems.peaks":
        return url_for("static", filename="demo/peaks.json")
    if endpoint == "stems.stem":
        return url_for("static", filename=f"demo/{values['name']}.mp3")
    return ""  # what takes an account, which is hidden
