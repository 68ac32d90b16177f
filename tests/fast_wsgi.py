"""The app with a separator that takes FAST_SECONDS a song, for tests of a real gunicorn."""

import os

from ezstems import create_app
from tests.separators import FastSeparator

app = create_app({"SEPARATOR": FastSeparator(float(os.environ.get("FAST_SECONDS", "0")))})
