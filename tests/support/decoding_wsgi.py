"""The app with a separator that decodes the whole song, as the real one does, and makes the fast one's stems."""

from ezstems import create_app
from tests.support.separators import DecodingSeparator

app = create_app({"SEPARATOR": DecodingSeparator()})
