"""gunicorn's settings, of `ezstems serve` and of `gunicorn -c python:ezstems.gunicorn_conf wsgi:app`."""

from typing import Any

from flask import Flask

from ezstems.instance import privileges
from ezstems.server import master, worker_process

_folder, _app = master.begin()
loglevel: str
workers: int
threads: int


def _take(app: Flask) -> None:
    """Give gunicorn those of the settings that it can change while it runs: it reads this module's names again."""
    global loglevel, workers, threads
    loglevel = app.config["EZSTEMS_LOG_LEVEL"]
    workers = app.config["EZSTEMS_WORKERS"]
    threads = app.config["EZSTEMS_THREADS"] + app.config["EZSTEMS_WAITERS"]


_take(_app)
bind = _app.config["EZSTEMS_BIND"]
# Root's server in another user's folder: its workers are that user's.
if (_whose := privileges.owner_to_become(_folder)) and privileges.can_become(*_whose):
    user, group = _whose
    initgroups = True
logger_class = master.Logger
worker_class = "ezstems.server.gunicorn_worker.GunicornWorker"
# Never: the engine's threads, the queue and the lock of its life belong to the worker process.
preload_app = False
keepalive = 15
# Clients that may be connected to a worker at a time; past that, those make room that are waited for.
worker_connections = 1000
sendfile = False  # the kernel would wait for a slow reader without an end
graceful_timeout = 8  # see worker_process.REQUESTS_SECONDS
timeout = 120
control_socket_disable = True
# What proxies say is for EZSTEMS_PROXIES alone: by default gunicorn believes whoever calls from this machine.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}


def on_starting(server: Any) -> None:
    """Look at the address now, and at the settings before every reload."""
    master.prepare(server, _folder, bind, _take)


post_worker_init = worker_process.begin
worker_exit = worker_process.end
