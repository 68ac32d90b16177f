"""The notice of the bundled model, which every page bears while that would separate here."""

from ezstems.errors import ConfigurationError
from ezstems.jobs import current_desk


def bundled_models() -> list[str]:
    """Name the bundled weights among those that would separate here now."""
    try:
        names = current_desk().model().split(", ")
    except ConfigurationError:  # no weights at all: /health says so, and who looks at a key needs none
        return []
    return [name for name in names if "builtin " in name]  # also of those that separate what official vocals leave
