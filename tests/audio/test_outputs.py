"""The table of formats: each is whole, and whoever names formats names these."""

import re

import pytest

from ezstems.audio.outputs import FORMATS, OUTPUTS, PCM, UNCLIPPED
from tests.support.servers import ROOT


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_format_is_whole(name: str) -> None:
    output = FORMATS[name]
    assert re.fullmatch("[a-z0-9]+", name) and re.fullmatch("[a-z0-9]+", output.extension)
    assert re.fullmatch("audio/[a-z0-9]+", output.media_type)
    assert output.label and output.detail and output.pcm in PCM
    assert output.is_wav == (output.extension == "wav")
    assert output.filename("vocals") == f"vocals.{output.extension}"


def test_the_default_and_the_one_that_never_clips() -> None:
    assert (OUTPUTS[0], UNCLIPPED) == ("wav", "wav32")
    assert [name for name, output in FORMATS.items() if not output.clips] == ["wav32"]


def test_nothing_else_lists_the_formats() -> None:
    """A format is one line of the table: no other code, page or script names those that are outputs alone."""
    package = ROOT / "ezstems"
    named = re.compile(r"""["'](wav32|ogg)["']|audio/(flac|ogg)""")
    files = (*package.rglob("*.py"), *package.rglob("*.html"), *package.rglob("*.js"))
    found = {path.relative_to(package).as_posix() for path in files if named.search(path.read_text())}
    previews = {"audio/preview.py", "static/mixer/preview_source.js"}  # whatever the format of the stems
    uploads = {"audio/kinds.py"}  # what goes in, too, may be Ogg
    assert found == {"audio/outputs.py"} | previews | uploads


def test_the_readme_names_them_all() -> None:
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if "/api/v1/upload.php` |" in line)
    assert all(f"`{name}`" in row for name in OUTPUTS)
