"""Download one archive over HTTP into a `.part` file, resumed where the server allows it.

Whoever calls knows the archive's SHA-256, which alone tells whether two answers were of the same version.
"""

import re
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import requests
import urllib3

from ezstems.errors import FetchFailed

logger = getLogger(__name__)

CHUNK_BYTES = 1 << 16  # small, so that a broken connection loses little and progress moves on a slow one
READ_TIMEOUT_SECONDS = 30.0
RETRIES = 2  # after a connection broke half-way; a server that can't be reached is not asked again
RETRY_PAUSE_SECONDS = 1.0
ARCHIVE_LIMIT_BYTES = 1 << 30  # the largest official archive has about 190 MB
UNPACKED_RATIO = 1.5  # float weights hardly compress
SPARE_BYTES = 64 << 20  # left free for the running server

Progress = Callable[[int, int | None], None]


def check_space(name: str, directory: Path, needed_bytes: float) -> None:
    """Raise FetchFailed where `directory`'s disk can't take so much and still leave some for the server."""
    free = shutil.disk_usage(directory).free
    needed = int(needed_bytes) + SPARE_BYTES
    if free < needed:
        raise FetchFailed(f"{name} needs {needed >> 20} MiB of free disk space, and {free >> 20} MiB are free")


def download(name: str, url: str, part: Path, progress: Progress, connect_timeout_seconds: float) -> None:
    """Bring `part` to its archive's full length; a broken connection is tried again, an unreachable server is not."""
    host = urlsplit(url).hostname or url
    unreachable = FetchFailed(
        f"could not reach {host}; the bundled model stands in for what is missing until `ezstems models fetch` succeeds"
    )
    if not _resolved(url, host, connect_timeout_seconds):
        logger.info("downloading %s: the name %s was not resolved", url, host)
        raise unreachable
    answered = False
    for retries in reversed(range(1 + RETRIES)):
        offset = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        timeout = (connect_timeout_seconds, READ_TIMEOUT_SECONDS)
        try:
            with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
                answered = True
                _receive(name, host, response, part, offset, progress)
                return
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            logger.info("downloading %s: %r", url, error)
            if not answered:
                raise unreachable from error
            if not retries:
                raise FetchFailed(
                    f"the connection to {host} broke before the end of {name}; "
                    "start `ezstems models fetch` again to go on"
                ) from error
            time.sleep(RETRY_PAUSE_SECONDS)


def _resolved(url: str, host: str, timeout_seconds: float) -> bool:
    """Tell whether name servers answer in time: the connection's time-out starts only after they have."""
    if requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)):
        return True  # the proxy asks them
    addresses: list[object] = []

    def look_up() -> None:
        with suppress(OSError, UnicodeError):
            addresses.extend(socket.getaddrinfo(host, None))

    thread = Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    return bool(addresses)


def _receive(
    name: str, host: str, response: requests.Response, part: Path, offset: int, progress: Progress
) -> None:
    """Write an answer behind the `offset` bytes that are there, or in their place where it is the whole archive."""
    if offset and response.status_code in (206, 416):
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != offset:
            part.unlink()
            raise urllib3.exceptions.ProtocolError(f"the answer does not go on at {offset}")
        total: int | None = int(span[2])
    elif response.status_code == 200:
        offset, length = 0, response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
    else:
        raise FetchFailed(f"{host} answered {response.status_code} when asked for {name}")
    if total is not None:
        check_space(name, part.parent, total - offset + UNPACKED_RATIO * total)
    with part.open("ab" if offset else "wb") as file:
        progress(offset, total)
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            offset += len(chunk)
            if offset > ARCHIVE_LIMIT_BYTES:
                part.unlink()
                raise FetchFailed(f"what {host} sent for {name} is over {ARCHIVE_LIMIT_BYTES >> 20} MiB")
            progress(offset, total)
    if total is not None and offset < total:
        raise urllib3.exceptions.ProtocolError(f"{offset} of {total} bytes")
