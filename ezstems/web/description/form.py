"""The form that upload.php takes, and what it refuses."""

from collections.abc import Iterable
from typing import Any

from ezstems.errors import BadInput, UnreadableAudio, UploadTooLarge
from ezstems.jobs import CUTOFFS, FORMATS, OUTPUTS, PARAMETERS, STEMS, UPLOAD_EXTENSIONS
from ezstems.models import PLAN_MAX_MB
from ezstems.web.api.upload import chosen
from ezstems.web.api.upload_form import MAX_FIELD_BYTES, NO_FILE, NO_FILENAME, require_binary
from ezstems.web.description.responses import Failure, refusal
from ezstems.web.filenames import upload_name

EXTENSIONS = f"{', '.join(f'.{name}' for name in UPLOAD_EXTENSIONS[:-1])} or .{UPLOAD_EXTENSIONS[-1]}"
CUTOFF_NAMES = PARAMETERS["cutoff"].names


def form_failures() -> tuple[Failure, ...]:
    """Return what upload.php refuses."""
    too_large = f"The file is over the {PLAN_MAX_MB['basic']} MB that the basic plan allows."
    other_content = "The file's content is not MP3 audio, as its extension .mp3 says."
    return (
        Failure(BadInput, "no form", "Content-Type='application/json' must be multipart/form-data."),
        Failure(BadInput, "no file", f"{NO_FILE} What came: 'stems'."),
        Failure(BadInput, "no filename", NO_FILENAME),
        refusal("encoded file", require_binary, "file", "base64"),
        refusal("other extension", upload_name, "song.ogg"),
        refusal("other stems", chosen, {"stems": "3"}),
        refusal("other cutoff", chosen, {"stems": "2", "cutoff": "8kHz"}),
        refusal("other output", chosen, {"stems": "2", "output": "aiff"}),
        Failure(BadInput, "empty file", "The file 'song.mp3' is empty."),
        Failure(UploadTooLarge, "large file", too_large),
        Failure(UnreadableAudio, "other content", other_content),
    )


def upload_form(cutoff: str) -> dict[str, Any]:
    """Describe the form, with the server's own default of the cutoff."""
    aliases = [name for name in CUTOFF_NAMES if name.isdecimal()]
    properties = {
        "file": {
            "type": "string",
            "format": "binary",
            "minLength": 1,
            "description": "The song: MP3, WAV or M4A, by its content and by its name, which must end in "
            f"{EXTENSIONS}, in any case; a name that isn't UTF-8 is read as Windows-1252, "
            "one in RFC 2047's encoded words is decoded, and folders are left out. How large the file may be "
            "depends on the account's plan.",
        },
        "stems": {
            "anyOf": [{"type": "integer", "enum": [*STEMS]}, _words(map(str, STEMS))],
            "description": "How many stems: "
            + "; ".join(f"`{count}`: {', '.join(stems)}" for count, stems in STEMS.items())
            + ".",
        },
        "cutoff": {
            "anyOf": [_words(CUTOFF_NAMES, optional=True), {"type": "integer", "enum": [*map(int, aliases)]}],
            "default": cutoff,
            "description": f"How far up the stems go: {_choice(CUTOFFS, cutoff)}, in any case; "
            f"{', '.join(f'`{name}`' for name in aliases)} are other names of the latter two. With `full` the stems "
            "add up to the song; with the others nothing is left above that frequency.",
        },
        "output": {
            **_words(OUTPUTS, optional=True),
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


def _choice(names: Iterable[str], default: str) -> str:
    return ", ".join(f"`{name}`{' (the default)' * (name == default)}" for name in names)


def _words(allowed: Iterable[str], *, optional: bool = False) -> dict[str, Any]:
    """Describe a short field: a word of some in any case, within what PHP allows around a number; blank if optional."""
    letters = "|".join("".join(_either_case(letter) for letter in word) for word in allowed)
    word = f"({letters}){'?' * optional}"
    return {"type": "string", "pattern": rf"^[\t-\r ]*{word}[\t-\r ]*$", "maxLength": MAX_FIELD_BYTES}


def _either_case(letter: str) -> str:
    return f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else letter
