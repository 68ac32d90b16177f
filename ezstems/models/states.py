"""The states of a job, and what it is told of where no error was raised that could."""

from sqlalchemy import text

QUEUED, PROCESSING, COMPLETED, FAILED = STATES = ("queued", "processing", "completed", "failed")
# A constant and no parameter, so that every plan can use the index of what is queued.
IS_QUEUED = text(f"status = '{QUEUED}'")
CRASHED = (
    "The server went down while it separated this file. Tried again in a process of its own, which died as well, "
    "the file has probably crashed the separator."
)
STALLED = (
    "The separation made no progress on the server and was ended. "
    "Its operator finds more in the log under this job's id."
)
DELETED = "Deleted before it was finished."
