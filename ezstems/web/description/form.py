"""The form that upload.php takes, and what it refuses."""

from collections.abc import Iterable, Sequence
from typing import Any

from ezstems.errors import BadInput, UnreadableAudio, UploadTooLarge
from ezstems.jobs import CUTOFFS, DEMUXERS, FORMATS, OUTPUTS, STEMS
from ezstems.models import PLAN_MAX_MB
from ezstems.web.api.form import MAX_FIELD_BYTES
from ezstems.web.api.upload import CUTOFF_NAMES, chosen, named
from ezstems.web.description.responses import Failure, refusal

EXTENSIONS = f"{', '.join(f'.{name}' for name in [*DEMUXERS][:-1])} or .{[*DEMUXERS][-1]}"


def form_failures() -> tuple[Failure, ...]:
    """Return what upload.php refuses."""
    too_large = f"The file is over the {PLAN_MAX_MB['basic']} MB that the basic plan allows."
    other_content = "The file's content is not MP3 audio, as its extension .mp3 says."
    return (
        Failure(BadInput, "no form", "Content-Type='application/json' must be multipart/form-data."),
        Failure(BadInput, "no file", "The part file is missing: the audio file, sent as multipart/form-data."),
        refusal("other extension", named, "song.ogg"),
        refusal("other stems", chosen, {"stems": "3"}),
        refusal("other cutoff", chosen, {"stems": "2", "cutoff": "8kHz"}),
        refusal("other output", chosen, {"stems": "2", "output": "aiff"}),
        Failure(BadInput, "empty file", "The file 'song.mp3' is empty."),
        Failure(UploadTooLarge, "large file", too_large),
        Failure(UnreadableAudio, "other content", other_content),
    )


def upload_form() -> dict[str, Any]:
    """Describe the form."""
    aliases = [name for name in CUTOFF_NAMES if name.isdecimal()]
    properties = {
        "file": {
            "type": "string",
            "format": "binary",
            "minLength": 1,
            "description": "The song: MP3, WAV or M4A, by its content and by its name, which must end in "
            f"{EXTENSIONS}, in any case; a name that isn't UTF-8 is read as Windows-1252. How large the file may be "
            "depends on the account's plan.",
        },
        "stems": {
            "anyOf": [{"type": "integer", "enum": [*STEMS]}, _words(map(str, STEMS))],
            "description": "How many stems: "
            + "; ".join(f"`{count}`: {', '.join(stems)}" for count, stems in STEMS.items())
            + ".",
        },
        "cutoff": {
            "anyOf": [_words(CUTOFF_NAMES), {"type": "integer", "enum": [*map(int, aliases)]}],
            "default": CUTOFFS[0],
            "description": f"The band in which the network works: {_choice(CUTOFFS)}, in any case; "
            f"{', '.join(f'`{name}`' for name in aliases)} are other names of the first two. Nothing is left above it, "
            f"except with `{CUTOFFS[-1]}`, which goes on above it so that the stems add up to the song.",
        },
        "output": {
            **_words(OUTPUTS),
            "default": OUTPUTS[0],
            "description": f"The stems' format, in any case: {_formats()}.",
        },
    }
    form = {
        "schema": {"type": "object", "properties": properties, "required": ["file", "stems"]},
        "encoding": {"file": {"contentType": "audio/mpeg, audio/wav, audio/mp4, application/octet-stream"}},
    }
    return {"required": True, "content": {"multipart/form-data": form}}


def _formats() -> str:
    names = [f"`{OUTPUTS[0]}` (the default)", *(f"`{name}`" for name in OUTPUTS[1:])]
    return "; ".join(f"{name}: {each.label}, {each.detail}" for name, each in zip(names, FORMATS.values(), strict=True))


def _choice(names: Sequence[str]) -> str:
    return ", ".join([f"`{names[0]}` (the default)", *(f"`{name}`" for name in names[1:])])


def _words(allowed: Iterable[str]) -> dict[str, Any]:
    """Describe a short field: one of some words in any case, within what PHP allows around a number."""
    letters = "|".join("".join(_either_case(letter) for letter in word) for word in allowed)
    return {"type": "string", "pattern": rf"^[\t-\r ]*({letters})[\t-\r ]*$", "maxLength": MAX_FIELD_BYTES}


def _either_case(letter: str) -> str:
    return f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else letter
