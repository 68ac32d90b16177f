"""The app whose separator makes known stems; apart from what tests import, since it makes its instance folder."""

from datetime import timedelta
from pathlib import Path

from ezstems import create_app
from ezstems.audio import preview
from ezstems.web.site import previews
from tests.browser.known_stems import KnownStems

# What takes only the processor that nobody else wants may wait for minutes beside other tests.
preview.use_idle_scheduling = lambda _child: None
previews.AWAITED_FOR = timedelta(minutes=5)
app = create_app({"SEPARATOR": KnownStems(lambda: Path(app.instance_path))})
