"""The app whose separator makes known stems; apart from what tests import, since it makes its instance folder."""

from pathlib import Path

from ezstems import create_app
from tests.browser.known_stems import KnownStems

app = create_app({"SEPARATOR": KnownStems(lambda: Path(app.instance_path))})
