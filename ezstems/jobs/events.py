"""Record what happens to jobs: each event is one line of the log, and a signal for metrics."""

import logging
from typing import Any

from blinker import Signal

log = logging.getLogger(__name__)

# Sent with the event's name, and its fields as keywords.
job_happened = Signal()


def record_event(
    event: str,
    job_id: str,
    detail: str = "",
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
    **fields: Any,
) -> None:
    """Log an event of a job, with the traceback of an error, and send the signal."""
    extra = {"job_id": job_id, "event": event, **fields}
    log.log(level, "job %s: %s%s", job_id, event, detail, exc_info=error, extra=extra)
    job_happened.send(event, **fields)


def log_as(logger: str, level: int, message: str, stack: str | None, *, job_id: str) -> None:
    """Log a message from another process or thread of a job, with its traceback."""
    fields = {"name": logger, "levelno": level, "levelname": logging.getLevelName(level), "msg": message}
    if logging.getLogger(logger).isEnabledFor(level):
        logging.getLogger(logger).handle(logging.makeLogRecord(fields | {"stack_info": stack, "job_id": job_id}))
