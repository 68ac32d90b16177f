"""Celery as a cluster uses it: one queue of tickets, each of which lets a separation process take the next job."""

from collections.abc import Mapping
from typing import Any

from celery import Celery
from kombu import Queue

from ezstems.errors import ConfigurationError
from ezstems.jobs import redis_transport

TASK = "ezstems.separate"
QUEUE = "ezstems"
CONNECT_SECONDS = 5
# How long a peer may be silent that ought to answer; a cut cable says nothing.
ANSWER_SECONDS = 10
# After the soft limit, which ends a job in an orderly way, the hard one ends its process.
HARD_AFTER_SECONDS = 60
# A broker must not take a ticket back from who works on it: RabbitMQ does after 30 minutes, unless its queue says
# otherwise. Longer than any job may run, and always the same, for a queue can't be declared anew with another.
HELD_MILLISECONDS = 30 * 24 * 3600 * 1000
MOST_MEMORY_KIB = 2 << 20
_REDIS = {
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_timeout": ANSWER_SECONDS,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "visibility_timeout": HELD_MILLISECONDS // 1000,
}
_AMQP = {
    "connect_timeout": CONNECT_SECONDS,
    "read_timeout": ANSWER_SECONDS,
    "write_timeout": ANSWER_SECONDS,
    "confirm_publish": True,
}


def make_celery(config: Mapping[str, Any]) -> Celery:
    """Make Celery by our settings; it connects to nothing yet."""
    url: str = config["EZSTEMS_BROKER_URL"]
    redis_transport.use()
    app = Celery("ezstems", broker=url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        event_serializer="json",
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_queues=[Queue(QUEUE, routing_key=QUEUE, queue_arguments={"x-consumer-timeout": HELD_MILLISECONDS})],
        broker_transport_options=_REDIS if url.startswith("redis") else _AMQP,
        broker_connection_timeout=CONNECT_SECONDS,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever
        broker_heartbeat=20,
        # A ticket is held until its job has ended: so a busy box keeps none back from an idle one.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_concurrency=config["EZSTEMS_SEPARATIONS"],
        worker_max_memory_per_child=MOST_MEMORY_KIB,
        worker_proc_alive_timeout=60.0,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_soft_time_limit=config["EZSTEMS_JOB_SECONDS"],
        task_time_limit=config["EZSTEMS_JOB_SECONDS"] + HARD_AFTER_SECONDS,
    )
    return app


def require_broker(config: Mapping[str, Any]) -> None:
    """Raise ConfigurationError where the broker can't be reached, or refuses the credentials."""
    with make_celery(config).connection_for_write() as connection:
        try:
            connection.connect()
            connection.default_channel.close()
        except Exception as error:  # each transport has its own
            why = " ".join(str(error).split()) or type(error).__name__
            shown = connection.as_uri().partition("?")[0]  # what follows may hold a password
            raise ConfigurationError(f"EZSTEMS_BROKER_URL={shown} must be a broker in reach: {why}") from error
