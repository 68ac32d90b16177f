"""The tables: users and what is theirs, from sessions to deliveries; attempts; a cluster's processes; the instance."""

from ezstems.models.attempt import Attempt
from ezstems.models.calls import count_call
from ezstems.models.delivery import DELIVERED, GIVEN_UP, PENDING, Delivery
from ezstems.models.files import FileNames, Files
from ezstems.models.idempotency_key import IdempotencyKey
from ezstems.models.instance import Instance
from ezstems.models.job import Job
from ezstems.models.key import MAX_KEY_NAME, ApiKey
from ezstems.models.rows import MAX_ID, shared_now, utcnow
from ezstems.models.second import free_second
from ezstems.models.separation_worker import SeparationWorker
from ezstems.models.session import Session
from ezstems.models.states import COMPLETED, CRASHED, DELETED, FAILED, PROCESSING, QUEUED, STALLED, STATES
from ezstems.models.user import CUSTOM_MAX_MB, PLAN_MAX_MB, PLANS, User
from ezstems.models.webhook import Webhook

__all__ = [
    "COMPLETED",
    "CRASHED",
    "CUSTOM_MAX_MB",
    "DELETED",
    "DELIVERED",
    "FAILED",
    "GIVEN_UP",
    "MAX_ID",
    "FileNames",
    "Files",
    "MAX_KEY_NAME",
    "PENDING",
    "PLANS",
    "PLAN_MAX_MB",
    "PROCESSING",
    "QUEUED",
    "STALLED",
    "STATES",
    "ApiKey",
    "Attempt",
    "Delivery",
    "IdempotencyKey",
    "Instance",
    "Job",
    "SeparationWorker",
    "Session",
    "User",
    "Webhook",
    "count_call",
    "free_second",
    "shared_now",
    "utcnow",
]
