"""A multipart form read as it arrives: its file goes straight to its place, nothing is held in memory."""

from collections.abc import Callable, Iterator
from contextlib import suppress

from flask import Request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from ezstems.errors import BadInput, UploadTooLarge
from ezstems.jobs import PARAMETERS, Incoming
from ezstems.web.filenames import escape_filename

BLOCK_BYTES = 256 * 1024
# One block in flight, headers of a part, and a boundary that spans two blocks.
BUFFER_BYTES = 2 * BLOCK_BYTES
MAX_FIELD_BYTES = 4096
MAX_PARTS = 100
URLENCODED, MAX_URLENCODED_BYTES = "application/x-www-form-urlencoded", 64 * 1024
# Taking headers apart is slow: half a second a megabyte.
MAX_HEADERS_BYTES = 64 * 1024
# All others are read past: they may be of any length.
FIELDS = (*PARAMETERS, "source", "metadata", "webhook_url", "csrf_token")
BROKEN = "The body is not valid multipart/form-data, or it ended early."
NO_FILE = "The part file is missing: the audio file, sent as multipart/form-data."
NO_FILENAME = 'The part file has no filename: choose a file, or name it as in filename="song.mp3".'
# So many names of parts, and so much of each, are told to who sent no file.
TOLD_NAMES, TOLD_CHARACTERS = 10, 64
# What these say of a part's content changes nothing in it; PHP decodes no other either.
BINARY = ("", "7bit", "8bit", "binary")
TOO_MUCH = f"The form must not have more than {MAX_PARTS} parts, nor one with headers over {MAX_HEADERS_BYTES} bytes."


class Decoder(MultipartDecoder):
    """Decode parts whose headers are short, in any encoding: PHP takes a name's bytes as they are."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        if len(data) > MAX_HEADERS_BYTES:
            raise RequestEntityTooLarge
        # Werkzeug refuses what isn't UTF-8; older clients on Windows send its Western code page.
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("cp1252", "replace").encode()
        headers = super()._parse_headers(data)
        if (disposition := headers.get("Content-Disposition")) is not None:
            headers["Content-Disposition"] = escape_filename(disposition)
        return headers


class UploadForm:
    """Take the part `file` and the short fields out of a request; as in PHP, a repeated part's last one wins."""

    def __init__(self, open_incoming: Callable[[], Incoming], limit_bytes: int, too_large: UploadTooLarge) -> None:
        self._fields: dict[str, bytes] = {}
        self.filename = ""
        self.incoming: Incoming | None = None
        self._names: dict[str, None] = {}
        self._open = open_incoming
        self._limit_bytes = limit_bytes
        self.too_large = too_large

    @property
    def fields(self) -> dict[str, str]:
        """Return the short fields as text."""
        return {name: value.decode("utf-8", "replace") for name, value in self._fields.items()}

    def require_file(self) -> Incoming:
        """Return the file; raise BadInput that says what came in its place."""
        if self.incoming is not None:
            return self.incoming
        if "file" in self._names:
            raise BadInput(NO_FILENAME)
        told = ", ".join(map(repr, self._names))
        raise BadInput(f"{NO_FILE} What came: {told}." if told else NO_FILE)

    def close(self) -> None:
        """Delete the file unless it was kept."""
        if self.incoming is not None:
            self.incoming.discard()

    def read(self, request: Request) -> None:
        """Read the whole body; raise BadInput when it isn't such a form, UploadTooLarge over the limit."""
        if request.mimetype == URLENCODED and self._read_urlencoded(request):
            return
        if request.mimetype != "multipart/form-data":
            raise BadInput(f"Content-Type={request.mimetype[:64]!r} must be multipart/form-data.")
        self._read_multipart(request)

    def _read_urlencoded(self, request: Request) -> bool:
        """Read a form without a file, as programs send it that have none to send; tell whether it names a source."""
        request.max_content_length = MAX_URLENCODED_BYTES  # it is held in memory
        with suppress(RequestEntityTooLarge):
            for name in FIELDS:
                for value in request.form.getlist(name)[-1:]:
                    self._add(Field(name=name, headers=Headers()), value.encode())
        return bool(self._fields.get("source", b"").strip())

    def _read_multipart(self, request: Request) -> None:
        boundary = request.mimetype_params.get("boundary", "")
        if not 1 <= len(boundary) <= 200 or not boundary.isascii():
            raise BadInput("Content-Type must name a boundary of 1 to 200 ASCII characters.")
        part: Field | File | None = None
        try:
            for event in self._events(request, boundary.encode()):
                if isinstance(event, Field | File):
                    part = event
                    self._begin(event)
                elif isinstance(event, Data) and part is not None:
                    self._add(part, event.data)
        except ValueError as error:
            raise BadInput(BROKEN) from error
        except RequestEntityTooLarge as error:
            raise BadInput(TOO_MUCH) from error

    def _begin(self, part: Field | File) -> None:
        if part.name == "file" or len(self._names) < TOLD_NAMES:
            self._names[(part.name or "")[:TOLD_CHARACTERS]] = None  # Werkzeug has None where there is none
        if part.name == "file" or part.name in FIELDS:
            require_binary(part.name, part.headers.get("Content-Transfer-Encoding", ""))
        if isinstance(part, Field):
            if part.name in FIELDS:
                self._fields[part.name] = b""
        elif part.name == "file":
            self.close()
            self.filename = part.filename
            # Browsers send a nameless, empty file where none was chosen.
            self.incoming = self._open() if part.filename else None

    def _add(self, part: Field | File, block: bytes) -> None:
        if isinstance(part, Field):
            if part.name not in FIELDS:
                return
            self._fields[part.name] = self._fields.get(part.name, b"") + block
            if len(self._fields[part.name]) > MAX_FIELD_BYTES:
                raise BadInput(f"The field {part.name!r} must not exceed {MAX_FIELD_BYTES} bytes.")
        elif part.name == "file" and self.incoming is not None:
            if self.incoming.size_bytes + len(block) > self._limit_bytes:
                raise self.too_large
            self.incoming.write(block)

    def _events(self, request: Request, boundary: bytes) -> Iterator[Event]:
        decoder = Decoder(boundary, BUFFER_BYTES, max_parts=MAX_PARTS)
        while True:
            try:
                block = request.stream.read(BLOCK_BYTES)
            except RequestEntityTooLarge as error:
                raise self.too_large from error
            decoder.receive_data(block or None)
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
                if isinstance(event, Epilogue):
                    return


def require_binary(name: str, encoding: str) -> None:
    """Raise BadInput when a part's content is encoded, which would end as a file that holds no audio."""
    if encoding.strip().lower() not in BINARY:
        raise BadInput(
            f"Content-Transfer-Encoding={encoding[:64]!r} of the part {name!r} is not decoded here: "
            "its content must be sent as it is."
        )
