"""The app whose separator makes known stems; apart from what tests import, since it makes its instance folder."""

from pathlib import Path

from ezstems import create_app
from ezstems.audio import preview
from tests.browser.known_stems import KnownStems

# What takes only the processor that nobody else wants may wait for minutes beside other tests.
preview.use_idle_scheduling = lambda _child: None
app = create_app({"SEPARATOR": KnownStems(lambda: Path(app.instance_path))})
