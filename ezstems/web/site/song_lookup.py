"""The song that a page is about; a page speaks of songs where a script's answer, as the API's, speaks of jobs."""

from flask_login import current_user

from ezstems.errors import NotFound
from ezstems.models import Job
from ezstems.web.errors import wants_json
from ezstems.web.job_lookup import job_of

NO_SONG = "There is no such song of yours. It has expired, was deleted, or its address is mistyped."


def song_of(job_id: str) -> Job:
    """Return a song of the visitor's; another account's is unknown."""
    try:
        return job_of(current_user, job_id)
    except NotFound as error:
        if wants_json():
            raise
        raise NotFound(NO_SONG) from error
