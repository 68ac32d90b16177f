"""The app whose separator needs no network."""

from ezstems import create_app
from tests.soak.shares import SharingSeparator
from tests.support import heartbeats

app = create_app({"SEPARATOR": SharingSeparator()})
heartbeats.shorten()
