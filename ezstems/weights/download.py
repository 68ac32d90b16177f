"""Download one archive over HTTP into a `.part` file, resumed where the server allows it."""

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


class Download:
    """Bring one `.part` file to its archive's full length, going on from what it has where the server allows it."""

    def __init__(
        self, name: str, url: str, part: Path, etag: Path, progress: Progress, connect_timeout_seconds: float
    ) -> None:
        self.name = name
        self.url = url
        self.host = urlsplit(url).hostname or url
        self.part = part
        self.etag = etag
        self.progress = progress
        self.connect_timeout_seconds = connect_timeout_seconds
        self.answered = False

    def run(self) -> None:
        """Download; a connection that broke after an answer is tried again, an unreachable server is not."""
        self._resolve()
        retries = RETRIES
        while True:
            try:
                if self._transfer():
                    return
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                logger.info("downloading %s: %r", self.url, error)
                if not self.answered:
                    raise self._unreachable() from error
                if not retries:
                    raise FetchFailed(
                        f"the connection to {self.host} broke before the end of {self.name}; "
                        "start `ezstems models fetch` again to go on"
                    ) from error
                retries -= 1
                time.sleep(RETRY_PAUSE_SECONDS)

    def _unreachable(self) -> FetchFailed:
        return FetchFailed(
            f"could not reach {self.host}; the bundled model stands in for what is missing "
            "until `ezstems models fetch` succeeds"
        )

    def _resolve(self) -> None:
        """Give up on name servers that don't answer: the connection's time-out starts only after they have."""
        if requests.utils.select_proxy(self.url, requests.utils.get_environ_proxies(self.url)):
            return
        addresses: list[object] = []

        def look_up() -> None:
            with suppress(OSError, UnicodeError):
                addresses.extend(socket.getaddrinfo(self.host, None))

        thread = Thread(target=look_up, name="resolve", daemon=True)
        thread.start()
        thread.join(self.connect_timeout_seconds)
        if not addresses:
            logger.info("downloading %s: the name %s was not resolved", self.url, self.host)
            raise self._unreachable()

    def _transfer(self) -> bool:
        """Ask once and write what comes; return False where what was there had to go and nothing has come yet."""
        offset = self.part.stat().st_size if self.part.exists() else 0
        version = self.etag.read_text() if self.etag.exists() else ""
        headers = {"Accept-Encoding": "identity"}
        asked_range = bool(offset and version)
        if asked_range:
            headers |= {"Range": f"bytes={offset}-", "If-Range": version}
        timeout = (self.connect_timeout_seconds, READ_TIMEOUT_SECONDS)
        with requests.get(self.url, headers=headers, stream=True, timeout=timeout) as response:
            self.answered = True
            if asked_range and response.status_code in (206, 416):
                total = _goes_on(response, offset, version)
                if total is None:
                    self.part.unlink()
                    return False
            elif response.status_code == 200:
                self.part.unlink(missing_ok=True)
                version = response.headers.get("ETag", "")
                self.etag.write_text("" if version.startswith("W/") else version)  # If-Range wants a strong one
                offset = 0
                length = response.headers.get("Content-Length", "")
                total = int(length) if length.isdecimal() else None
            else:
                raise FetchFailed(f"{self.host} answered {response.status_code} when asked for {self.name}")
            if total is not None:
                check_space(self.name, self.part.parent, total - offset + UNPACKED_RATIO * total)
            self._receive(response, offset, total)
        return True

    def _receive(self, response: requests.Response, offset: int, total: int | None) -> None:
        with self.part.open("ab") as file:
            self.progress(offset, total)
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                offset += len(chunk)
                if offset > ARCHIVE_LIMIT_BYTES:
                    break
                self.progress(offset, total)
        if offset > ARCHIVE_LIMIT_BYTES:
            self.part.unlink()
            raise FetchFailed(f"what {self.host} sent for {self.name} is over {ARCHIVE_LIMIT_BYTES >> 20} MiB")
        if total is not None and offset < total:
            raise urllib3.exceptions.ProtocolError(f"{offset} of {total} bytes")


def _goes_on(response: requests.Response, offset: int, version: str) -> int | None:
    """Return the whole archive's size where `response` continues the same version at `offset`, else None."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if response.status_code != 206 or span is None or int(span[1]) != offset:
        return None
    if response.headers.get("ETag", version) != version:
        return None
    return int(span[2])
