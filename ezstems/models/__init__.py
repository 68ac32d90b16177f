"""The rows: users, their API keys and their jobs."""

from ezstems.models.job import COMPLETED, CRASHED, DELETED, FAILED, PROCESSING, QUEUED, STATES, Job
from ezstems.models.key import MAX_KEY_NAME, ApiKey
from ezstems.models.rows import utcnow
from ezstems.models.user import CUSTOM_MAX_MB, PLAN_MAX_MB, PLANS, User

__all__ = [
    "COMPLETED",
    "CRASHED",
    "CUSTOM_MAX_MB",
    "DELETED",
    "FAILED",
    "MAX_KEY_NAME",
    "PLANS",
    "PLAN_MAX_MB",
    "PROCESSING",
    "QUEUED",
    "STATES",
    "ApiKey",
    "Job",
    "User",
    "utcnow",
]
