"""What a separation may be asked for: the one table that API, website and commands read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ezstems.audio.outputs import FORMATS
from ezstems.audio.stems import CUTOFFS, STEMS
from ezstems.errors import BadInput

# What PHP allows around a number.
BLANK = " \t\n\r\v\f"


@dataclass(frozen=True)
class Parameter:
    """Say what one parameter takes: the words that it may be, in any case, each with its meaning for people.

    Left out it is the first of them, or, where the server has a `setting` for that, what this says.
    """

    name: str
    label: str
    choices: Mapping[str, str]
    other_names: Mapping[str, str] = field(default_factory=dict)
    is_required: bool = False
    setting: str | None = None
    kind: Callable[[str], Any] = str

    @cached_property
    def names(self) -> dict[str, str]:
        """Return the choice that each accepted word means, by the word in lower case."""
        return {choice.lower(): choice for choice in self.choices} | dict(self.other_names)

    def default(self, settings: Mapping[str, Any]) -> str:
        """Return the choice of who leaves the parameter out."""
        first = next(iter(self.choices))
        return settings.get(self.setting, first) if self.setting else first

    def parse(self, raw: str, settings: Mapping[str, Any]) -> Any:
        """Return the value that a client wrote; raise BadInput that names the rule."""
        word = raw.strip(BLANK)
        if not word and not self.is_required:
            word = self.default(settings)
        if not word.isascii() or word.lower() not in self.names:  # the Kelvin sign's lower case is a k
            raise BadInput(f"{self.name}={word[:64]!r} must be {self._rule}.")
        return self.kind(self.names[word.lower()])

    @property
    def _rule(self) -> str:
        *others, last = self.choices
        return f"{', '.join(others)} or {last}" if self.kind is int else f"one of {', '.join(self.choices)}"


_COUNTS = {str(count): f"{count}: {', '.join(names)}" for count, names in STEMS.items()}
_BANDS = dict(
    zip(
        CUTOFFS,
        (
            "full (recommended)",
            "11 kHz (Spleeter's own)",
            "16 kHz",
        ),
        strict=True,
    )
)
_OTHER_BANDS = {"11": "11kHz", "11000": "11kHz", "16": "16kHz", "16000": "16kHz"}
_FORMATS = {name: output.words for name, output in FORMATS.items()}
# A new one needs besides only what no table can do: a column of `Job` with its migration, since a job outlives its
# upload, and the argument of `Separator` that acts on it.
PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("stems", "Stems", _COUNTS, is_required=True, kind=int),
        Parameter("cutoff", "Bandwidth", _BANDS, _OTHER_BANDS, setting="EZSTEMS_CUTOFF"),
        Parameter("output", "Format", _FORMATS),
    )
}
