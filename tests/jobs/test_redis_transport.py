"""What Celery does to a connection that Redis has left must not end the worker."""

import logging
from typing import Any

import pytest
from kombu import Consumer

from ezstems.jobs.celery_app import TASK, make_celery
from ezstems.jobs.redis_transport import CLOSED
from tests.support.backends import Redis

log = logging.getLogger(__name__)


def test_what_is_acknowledged_after_its_connection_has_closed_is_logged_alone(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Kombu's own transport raises an AttributeError there, for which Celery ends the worker."""
    settings = {"EZSTEMS_BROKER_URL": redis.new_url(), "EZSTEMS_SEPARATIONS": 1, "EZSTEMS_JOB_SECONDS": 60}
    app = make_celery(settings)
    held: list[Any] = []
    with app.connection_for_read() as connection:
        app.send_task(TASK, args=(1,), connection=connection)
        channel = connection.default_channel
        with Consumer(channel, app.conf.task_queues, on_message=held.append):
            connection.drain_events(timeout=60)
        connection.collect()
        channel._disconnect_pools()  # as where closing it failed half-way, while it waited for a message
        (message,) = held
        message.ack_log_error(log, connection.connection_errors)
        assert "Couldn't ack" in caplog.text and CLOSED in caplog.text
