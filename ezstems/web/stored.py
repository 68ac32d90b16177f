"""The stored files of a finished job: where one can't be sent, the answer says truly why."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ezstems.errors import DamagedFile
from ezstems.jobs import DAMAGED_RESULT
from ezstems.models import Job
from ezstems.web.job_lookup import expired

log = logging.getLogger(__name__)


@contextmanager
def stored(job: Job) -> Iterator[None]:
    """Answer 404 where a completed job's files went meanwhile, and 500 where they are damaged or lost."""
    try:
        yield
    except (OSError, DamagedFile) as error:
        if Job.is_gone(job.number):  # between the row's read and the file's opening
            raise expired(job) from None
        why = error.__cause__ if isinstance(error, DamagedFile) else error
        log.error("job %s: its result can't be sent: %s", job.id, why, extra={"job_id": job.id})
        raise DamagedFile(DAMAGED_RESULT) from error
