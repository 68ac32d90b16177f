"""Programs that use the API from upload to download: to copy, to give a key and a file, and to run."""

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "samples"
# The address that stands in the files: where `make run` serves.
ADDRESS = "http://127.0.0.1:8000"
# Each program's language, its file, how to run it, and what that takes.
PROGRAMS = (
    ("curl", "stems.sh", "bash stems.sh", "bash and curl"),
    ("Python", "stems.py", "python stems.py", "Python 3 and requests"),
    ("Node", "stems.mjs", "node stems.mjs", "Node 18 or newer"),
    ("PHP", "stems.php", "php stems.php", "PHP 8 and its curl extension"),
)


class Program(NamedTuple):
    """Name a program's language, how to run it, what that takes, and its text."""

    language: str
    run: str
    needs: str
    text: str


def programs(base_url: str) -> list[Program]:
    """Return the programs for the server at an address."""
    return [
        Program(language, run, needs, (FOLDER / name).read_text(encoding="utf-8").replace(ADDRESS, base_url))
        for language, name, run, needs in PROGRAMS
    ]
