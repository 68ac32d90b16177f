"""The app whose separator needs no network."""

from ezstems import create_app
from tests.soak.shares import SharingSeparator

app = create_app({"SEPARATOR": SharingSeparator()})
