"""The notice of the bundled model, which the upload page bears beside the stems that it would separate here."""

import re

from ezstems.errors import ConfigurationError
from ezstems.jobs import current_desk


def bundled_models() -> dict[int, str]:
    """Name the bundled weights that would separate here now, by the number of stems that they make."""
    try:
        names = current_desk().model().split(", ")
    except ConfigurationError:  # no weights at all: /health says so, and who looks at the form needs none
        return {}
    found: dict[int, str] = {}
    for name in names:
        if "builtin " in name:  # also of those that separate what official vocals leave
            stems = int(re.search(r"(\d+)stems$", name)[1])  # type: ignore[index]
            # Boxes of a cluster may differ.
            found[stems] = f"{found[stems]}, {name}" if stems in found else name
    return found
