"""How the box is: whether it can take work, and what is wrong with what it keeps."""

import logging
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ezstems.database_server import is_away
from ezstems.database_watch import LOST, DatabaseWatch
from ezstems.errors import ConfigurationError, ServerFull
from ezstems.jobs.admission import Admission
from ezstems.jobs.archive import Archive
from ezstems.jobs.dispatch import Dispatch
from ezstems.jobs.retention import Sweeper
from ezstems.models import QUEUED, Job

log = logging.getLogger(__name__)


def health_of(
    archive: Archive,
    admission: Admission,
    database_watch: DatabaseWatch,
    dispatch: Dispatch,
    sweeper: Sweeper,
) -> dict[str, Any]:
    """Return the box's status, how much waits, the model, and how much disk is free."""
    health: dict[str, Any] = {"status": "ok", "queue_length": None, "model": None}
    health["free_disk_bytes"] = archive.free_bytes()
    if database_watch.is_lost():
        return health | {"status": "no database", "message": LOST}
    try:
        health["queue_length"] = Job.unfinished_by_status()[QUEUED]
        health["model"] = dispatch.model()
        admission.require_room()
    except SQLAlchemyError as error:
        if not is_away(error):
            log.exception("the database failed")
        health |= {"status": "no database", "message": "The database failed; the log says how."}
    except ConfigurationError as error:
        health |= {"status": "no model", "message": str(error)}
    except ServerFull as error:
        health |= {"status": "full", "message": str(error)}
    health |= dispatch.health()
    if problems := [*health.get("problems", ()), *sweeper.problems()]:
        health["problems"] = problems
    return health
