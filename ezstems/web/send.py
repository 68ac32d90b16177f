"""Send files: whole, by a range, or not again when the client has them; say truly why one can't be sent."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timezone
from typing import IO, Any

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.utils import send_file
from werkzeug.wsgi import FileWrapper

from ezstems.errors import DamagedFile
from ezstems.jobs import DAMAGED_RESULT, Opened
from ezstems.models import Job
from ezstems.web.filenames import SavedName
from ezstems.web.job_lookup import expired

log = logging.getLogger(__name__)

# Conditions that Werkzeug would answer with a code (412, or 304 to who didn't ask by ETag) the contract doesn't know.
_IGNORED_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_MODIFIED_SINCE")
BLOCK_BYTES = 256 * 1024


class Blocks(FileWrapper):
    """Hand a file to the server in blocks; the server's own wrapper can't seek: it reads all that is before a range."""

    def __init__(self, file: IO[bytes], _buffer_bytes: int) -> None:
        super().__init__(file, BLOCK_BYTES)


def send(file: Opened, mimetype: str, saved_name: SavedName | None = None) -> Response:
    """Answer with a file as far as the request's Range and If-None-Match ask for it; with a name it is to be saved."""
    response = send_file(
        file,  # type: ignore[arg-type]
        request.environ | {"wsgi.file_wrapper": Blocks},
        mimetype,
        conditional=False,
        etag=file.etag,
        last_modified=file.changed_at.replace(tzinfo=timezone.utc),
        max_age=0,
        response_class=Response,
    )
    assert isinstance(response, Response)
    if saved_name is not None:
        response.headers["Content-Disposition"] = saved_name.disposition()
    response.content_length = file.size_bytes
    response.cache_control.private = True
    # Past Werkzeug's shortcut for whole files, so that the end of the answer is noticed, and logged.
    response.direct_passthrough = False
    try:
        length = response.content_length or 0
        response.make_conditional(_environ(length), accept_ranges=True, complete_length=length)
    except RequestedRangeNotSatisfiable:
        response.close()
        raise
    try:
        _read_first(file, response)
    except BaseException:
        response.close()
        raise
    return response


def _read_first(file: Opened, response: Response) -> None:
    """Read the first block that is to be sent: while nothing has gone out, a store that is away can be told."""
    if request.method != "GET" or response.status_code not in (200, 206):
        return
    file.seek(response.content_range.start or 0 if response.status_code == 206 else 0)
    file.read(min(BLOCK_BYTES, response.content_length or 0))
    file.seek(0)


@contextmanager
def files_of(job: Job) -> Iterator[None]:
    """Answer 404 where a completed job's files went meanwhile, and 500 where they are damaged or lost."""
    try:
        yield
    except (OSError, DamagedFile) as error:
        if Job.is_gone(job.number):  # between the row's read and the file's opening
            raise expired(job) from None
        why = error.__cause__ if isinstance(error, DamagedFile) else error
        log.error("job %s: its result can't be sent: %s", job.id, why, extra={"job_id": job.id})
        raise DamagedFile(DAMAGED_RESULT) from error


def _environ(length: int) -> dict[str, Any]:
    """Return the request as Werkzeug is to see it, for a file of a length in bytes."""
    # It would answer 416 to several ranges, other units and nonsense, which RFC 9110 lets a server ignore, and to the
    # end of a file that is shorter: what who reads a ZIP's directory asks for first.
    asked = request.range
    starts = [start for start, _ in asked.ranges] if asked is not None and asked.units == "bytes" else []
    ignored = _IGNORED_CONDITIONS if len(starts) == 1 else (*_IGNORED_CONDITIONS, "HTTP_RANGE")
    environ = {name: value for name, value in request.environ.items() if name not in ignored}
    if len(starts) == 1 and starts[0] < -length:
        environ["HTTP_RANGE"] = "bytes=0-"
    return environ
