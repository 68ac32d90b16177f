"""Celery's consumer of tickets, which no message can end: what makes no sense is logged and thrown away."""

import logging
from collections.abc import Callable
from typing import Any

from celery.worker import consumer
from celery.worker.request import Request

from ezstems.jobs import redis_transport

log = logging.getLogger(__name__)

SHOWN_CHARACTERS = 200


class Consumer(consumer.Consumer):
    """Consume tickets, and reject what Celery can't make anything of."""

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        """Return what takes a message; without this, a header that holds nonsense ends the worker."""
        take = super().create_task_handler(*arguments, **options)

        def take_or_reject(message: Any) -> None:
            try:
                take(message)
            except (*self.connection_errors, *self.channel_errors):
                raise
            except Exception as error:
                _warn(error, message.headers)
                message.reject_log_error(log, self.connection_errors)

        return take_or_reject


class RedisChannel(redis_transport.Channel):
    """Take messages from Redis's lists, and throw away what is none."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            _warn(error, "what isn't a message")  # it is out of the list already
            return True


class Ticket(Request):
    """Hold a ticket; how long a job may run, the settings say, and no message."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.time_limits = None, None


def _warn(error: Exception, what: object) -> None:
    shown = f"{what}"[:SHOWN_CHARACTERS]
    log.warning("the broker's queue held %s, which was thrown away: %s: %s", shown, type(error).__name__, error)
