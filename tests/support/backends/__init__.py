"""Real servers on loopback, each in a folder of its own: what a test starts, stops and kills."""

from tests.support.backends.object_store import ObjectStore
from tests.support.backends.postgres import Postgres
from tests.support.backends.rabbitmq import RabbitMQ
from tests.support.backends.redis_server import Redis

__all__ = ["ObjectStore", "Postgres", "RabbitMQ", "Redis"]
