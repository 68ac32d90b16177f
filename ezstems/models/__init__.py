"""The tables: users, their sessions, API keys and jobs, attempts, and the instance."""

from ezstems.models.attempt import Attempt
from ezstems.models.calls import count_call
from ezstems.models.files import FileNames, Files
from ezstems.models.instance import Instance
from ezstems.models.job import COMPLETED, CRASHED, DELETED, FAILED, PROCESSING, QUEUED, STALLED, STATES, Job
from ezstems.models.key import MAX_KEY_NAME, ApiKey
from ezstems.models.rows import utcnow
from ezstems.models.session import Session
from ezstems.models.user import CUSTOM_MAX_MB, PLAN_MAX_MB, PLANS, User

__all__ = [
    "COMPLETED",
    "CRASHED",
    "CUSTOM_MAX_MB",
    "DELETED",
    "FAILED",
    "FileNames",
    "Files",
    "MAX_KEY_NAME",
    "PLANS",
    "PLAN_MAX_MB",
    "PROCESSING",
    "QUEUED",
    "STALLED",
    "STATES",
    "ApiKey",
    "Attempt",
    "Instance",
    "Job",
    "Session",
    "User",
    "count_call",
    "utcnow",
]
