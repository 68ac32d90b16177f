"""`source`: a job's kept upload in place of a file, to be separated again."""

from typing import Any

from ezstems.database import db
from ezstems.errors import BadInput, DamagedFile, UploadTooLarge
from ezstems.jobs import LOST_UPLOAD, Keep, current_desk, keep_nothing_more
from ezstems.models import Job, User
from ezstems.web.job_lookup import job_of, require_id

BOTH = "Send either file or source, not both: a new file, or the id of the job whose upload is to be separated again."


def too_large_for(user: User) -> UploadTooLarge:
    """Return what to raise of a file that a user's plan doesn't allow."""
    limit_mb = user.max_upload_bytes // 1024**2
    return UploadTooLarge(f"The file is over the {limit_mb} MB that the {user.plan} plan allows.")


def separate_again(user: User, raw_id: str, options: dict[str, Any], keep: Keep = keep_nothing_more) -> Job:
    """Line up another job of a kept upload; another account's is unknown."""
    source_id = require_id("source", raw_id)
    source = job_of(user, source_id)
    if source.size_bytes > user.max_upload_bytes:
        raise too_large_for(user)  # the plan may have changed since
    try:
        return current_desk().submit_again(source, keep=keep, **options)
    except FileNotFoundError as error:
        db.session.expire(source)
        source = job_of(user, source_id)  # which may be gone by now
        if source.needs_upload:
            raise DamagedFile(LOST_UPLOAD) from error
        raise BadInput(f"The upload of job {source_id} is not kept. Send the file itself.") from error
