"""The app with a separator that decodes the whole song, as the real one does, and makes the fast one's stems."""

from pathlib import Path
from typing import Any

from ezstems import create_app
from ezstems.audio.decode import decode
from ezstems.audio.length import refuse_longer
from ezstems.audio.separate import Separation
from tests.separators import FastSeparator


class DecodingSeparator(FastSeparator):
    """Decode, then separate at once."""

    def __call__(self, source: Path, directory: Path, **options: Any) -> Separation:
        longest_seconds = app.config["EZSTEMS_MAX_DURATION_SECONDS"]
        refuse_longer(source, longest_seconds)
        with decode(source, block_samples=100_000, longest_seconds=longest_seconds) as decoding:
            for _ in decoding:
                pass
        return super().__call__(source, directory, **options)


app = create_app({"SEPARATOR": DecodingSeparator()})
