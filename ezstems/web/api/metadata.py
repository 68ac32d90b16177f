"""`metadata`: what a client notes of its upload, to find it again; nothing here looks into it."""

import unicodedata

from ezstems.errors import BadInput

MAX_CHARACTERS = 512


def checked_metadata(raw: str) -> str | None:
    """Return the text as it is stored, None for a blank one; raise BadInput naming the rule."""
    text = raw.strip()
    if len(text) > MAX_CHARACTERS:
        raise BadInput(f"metadata={text[:64]!r}… has {len(text)} characters; it must have at most {MAX_CHARACTERS}.")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise BadInput(f"metadata={text[:64]!r} must hold no control characters, as line breaks are.")
    if "\ufffd" in text:  # what bytes become that are no UTF-8
        raise BadInput(f"metadata={text[:64]!r} must be UTF-8.")
    return text or None
