"""Clipped samples, counted by stem: what they are in words, and what never clips."""

from collections.abc import Mapping

from ezstems.audio.outputs import FORMATS, UNCLIPPED


def in_words(clipped: Mapping[str, int]) -> str:
    """Say how many samples of which stems were clipped."""
    return ", ".join(f"{count:,} {'sample' if count == 1 else 'samples'} of {stem}" for stem, count in clipped.items())


def advice(clipped: Mapping[str, int]) -> str:
    """Say what was clipped and how it isn't."""
    never = f"{FORMATS[UNCLIPPED].label} ({UNCLIPPED})"
    return f"Clipped, being louder than full scale: {in_words(clipped)}. Separate again as {never}, which never clips."
