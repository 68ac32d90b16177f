"""The app with a separator that needs no TensorFlow, for tests of a real gunicorn.

A song takes FAST_SECONDS, and no end while the instance folder holds a file `hold`; one of FAST_KILL stems kills the
process, one of FAST_DEAF stems heeds no stop for a minute, or FAST_DEAF_SECONDS; the watchdog waits for one FAST_STOP
seconds. A stranger is waited for FAST_PATIENCE seconds. Every answer names its worker process in X-Worker.
A cluster's processes beat as `heartbeats` says.
While the instance folder holds a file `original`, nobody's preference to wait is known, nor said when to ask again.
"""

import os
from pathlib import Path

from flask import Response, request

from ezstems import create_app
from ezstems.jobs import watchdog
from ezstems.server import client_socket
from tests.support import heartbeats
from tests.support.separators import DeadlySeparator

app = create_app({"SEPARATOR": DeadlySeparator()})
heartbeats.shorten()
watchdog.STOP_SECONDS = float(os.environ.get("FAST_STOP", watchdog.STOP_SECONDS))
client_socket.STRANGER = float(os.environ.get("FAST_PATIENCE", client_socket.STRANGER[0])), client_socket.STRANGER[1]


def is_original() -> bool:
    """Tell whether to be like the service that came first."""
    return (Path(app.instance_path) / "original").exists()


@app.before_request
def forget_preferences() -> None:
    """Know no preferences."""
    if is_original():
        request.environ.pop("HTTP_PREFER", None)


@app.after_request
def say_no_more(response: Response) -> Response:
    """Take away what the first service didn't say."""
    if is_original() and response.status_code == 200:
        response.headers.pop("Retry-After", None)
    return response


@app.after_request
def name_worker(response: Response) -> Response:
    """Say which process answers."""
    response.headers["X-Worker"] = str(os.getpid())
    return response
