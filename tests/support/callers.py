"""A caller of a real server's API."""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests

from tests.support.servers import Server


class Caller:
    """Call a server's API with a key; every call has a connection of its own."""

    def __init__(self, server: Server, key: str) -> None:
        self.server = server
        self.headers = {"Authorization": f"Bearer {key}"}

    def get(self, path: str, **parameters: str) -> requests.Response:
        """GET an endpoint."""
        return requests.get(f"{self.server.api}/{path}", params=parameters, headers=self.headers, timeout=60)

    def send(
        self, content: bytes, name: str = "song.wav", headers: Mapping[str, str] | None = None, **fields: object
    ) -> requests.Response:
        """Upload a file; return the answer, whatever it is."""
        return requests.post(
            f"{self.server.api}/upload.php",
            files={"file": (name, content)},
            data=fields,
            headers=self.headers | dict(headers or {}),
            timeout=120,
        )

    def upload(self, content: bytes, stems: int = 2, name: str = "song.wav", **headers: str) -> dict[str, Any]:
        """Upload a file, which must be accepted; return the answer's data."""
        answer = self.send(content, name, headers, stems=stems)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def status(self, job_id: str) -> dict[str, Any]:
        """Return a job's state."""
        answer = self.get("status.php", id=job_id)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def wait(self, job_id: str, *states: str, seconds: float = 120.0) -> dict[str, Any]:
        """Poll until a job is in one of the states, `completed` if none is named; return its state.

        What a completed one was made of, and isn't to be kept, goes a moment after its row says so; that is waited for.
        """
        deadline = time.monotonic() + seconds
        while (job := self.status(job_id))["status"] not in (states or ("completed",)):
            assert time.monotonic() < deadline, f"{job} after {seconds} s:\n{self.server.log.read_text()[-4000:]}"
            time.sleep(0.1)
        if job["status"] == "completed" and self.server.environ.get("EZSTEMS_KEEP_UPLOADS") == "off":
            while any((self.server.instance / "uploads").glob(f"{job_id}_*")) and time.monotonic() < deadline:
                time.sleep(0.01)
        return job

    @contextmanager
    def half_an_upload(self, content: bytes) -> Iterator[None]:
        """Send the beginning of an upload, keep the connection open, then go away without a word."""
        before = self.server.upload_parts()
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as connection:
            head = (
                "POST /api/v1/upload.php HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\n"
                f"Authorization: {self.headers['Authorization']}\r\n\r\n"
                '--b\r\nContent-Disposition: form-data; name="file"; filename="song.wav"\r\n\r\n'
            )
            connection.sendall(head.encode() + content * 6)
            deadline = time.monotonic() + 60
            while self.server.upload_parts() <= before:
                assert time.monotonic() < deadline, "the upload never began"
                time.sleep(0.05)
            yield
