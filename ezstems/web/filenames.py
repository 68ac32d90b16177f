"""Files' names: what a client calls its upload, however it writes that, and what to save a result as, anywhere."""

import re
import unicodedata
from collections.abc import Sequence
from email.errors import HeaderParseError
from email.header import decode_header
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import quote

from werkzeug.http import dump_options_header

from ezstems.errors import BadInput
from ezstems.jobs import API_EXTENSIONS

MAX_NAME = 255
# Of a title in UTF-8: with a stem's name and the extension it stays below the 255 bytes of a file system.
MAX_TITLE_BYTES = 200
# Longer ones are no file's, and some of Python's decoders take a time that grows with the square.
MAX_ENCODED = 4096

# The value of a parameter, up to the quote that ends it: one that another parameter follows, or nothing.
_FILENAME = re.compile(r'\bfilename[ \t]*=[ \t]*(?=")', re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\]|\\(?!["\\])|"(?!\s*(?:;|$)))*)"')
_UNESCAPED = re.compile(r'\\["\\]|["\\]')
# RFC 2047, as mail programs and Java's libraries write names.
_WORD = r"=\?[^?\s]+\?[bq]\?[^?]*\?="
_WORDS = re.compile(rf"{_WORD}(?:\s*{_WORD})*", re.IGNORECASE)
# What no file's name may hold on Windows, and what it would take for a device.
_RESERVED = re.compile(r'[<>:"/\\|?*]')
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*\.", re.IGNORECASE)
# As RFC 5987 has it.
_PLAIN_IN_PARAMETERS = "!#$&+-.^_`|~"


class SavedName(NamedTuple):
    """Name a file for who saves it, and once more in ASCII for programs that read no other name."""

    full: str
    ascii: str

    def disposition(self) -> str:
        """Return the Content-Disposition that says so."""
        names = {"filename": self.ascii}
        if self.full != self.ascii:
            names["filename*"] = f"UTF-8''{quote(self.full, safe=_PLAIN_IN_PARAMETERS)}"
        return dump_options_header("attachment", names)


def escape_filename(disposition: str) -> str:
    """Escape what a client left as it was in a part's quoted filename: quotes, and the backslashes of a path."""
    begin = _FILENAME.search(disposition)
    quoted = begin and _QUOTED.match(disposition, begin.end())
    if not quoted:
        return disposition
    escaped = _UNESCAPED.sub(lambda found: found[0] if len(found[0]) == 2 else f"\\{found[0]}", quoted[1])
    return f'{disposition[: quoted.start()]}"{escaped}"{disposition[quoted.end() :]}'


def upload_name(filename: str, extensions: Sequence[str] = API_EXTENSIONS) -> tuple[str, str]:
    """Return the client's name of the file, without any folder, and its extension in lower case, one of some."""
    if len(filename) <= MAX_ENCODED:
        filename = _WORDS.sub(lambda words: _decoded(words[0]), filename)
    name = _visible(re.split(r"[/\\]", filename)[-1]).strip()[-MAX_NAME:]
    extension = _split(name)[1].lower()
    if extension not in extensions:
        must_be = "an MP3, WAV or M4A" if extensions == API_EXTENSIONS else "a song or a video"
        *others, last = (f".{each}" for each in extensions)
        raise BadInput(f"The file {name[:64]!r} must be {must_be}: its name must end in {', '.join(others)} or {last}.")
    return name, extension


def saved_name(original_name: str, job_id: str, ending: str, joint: str = "-") -> SavedName:
    """Name a file after the upload it came of; where ASCII loses letters, the job's id keeps two names apart."""
    title = _safe(_split(original_name)[0]) or job_id
    letters = "".join(each for each in unicodedata.normalize("NFKD", title) if not unicodedata.combining(each))
    plain = _safe(letters.encode("ascii", "ignore").decode().replace("%", "_"))  # some browsers decode %41
    if not letters.isascii():
        plain = f"{plain}-{job_id}" if any(map(str.isalnum, plain)) else job_id
    return SavedName(f"{title}{joint}{ending}", f"{plain or job_id}{joint}{ending}")


def _decoded(words: str) -> str:
    try:
        pieces = [(text, (charset or "ascii").partition("*")[0]) for text, charset in decode_header(words)]
        return "".join(text if isinstance(text, str) else text.decode(charset, "replace") for text, charset in pieces)
    except (HeaderParseError, LookupError, ValueError):
        return words


def _visible(text: str) -> str:
    # Controls go, those of the direction of writing too. Spaces of all kinds stay, and what joins or parts letters:
    # without it a family falls into its members, and Persian words run together.
    return "".join(
        each for each in text if each.isprintable() or each in "\u200c\u200d" or unicodedata.category(each) == "Zs"
    )


def _safe(title: str) -> str:
    """Return a title as a file's name may begin: no path, option, hidden file, device or character of Windows'."""
    title = " ".join(_RESERVED.sub("_", _visible(title)).split())
    title = re.sub(r"^[\s.-]+", "", title).encode()[:MAX_TITLE_BYTES].decode(errors="ignore")
    title = re.sub(r"[\s.]+$", "", title)
    return f"_{title}" if _DEVICE.match(title) else title


def _split(name: str) -> tuple[str, str]:
    """Return a file's title and extension; Pythons differ on what they are of names like `...wav` and `song.`."""
    last = PurePosixPath(name).name
    title, dot, extension = last.rpartition(".")
    return (title, extension) if title and extension else (last, "")
