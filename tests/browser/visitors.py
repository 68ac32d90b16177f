"""A visitor with an account: what a test needs to be there before a page is looked at, without a page."""

import io
import time
import wave
from typing import Any

from playwright.sync_api import BrowserContext

from tests.support.servers import Server
from tests.support.sessions import enter

SOURCE_HZ = 8000


def silence(seconds: float) -> bytes:
    """Make a small WAV file of some length; the stand-in separator looks at nothing else of it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as song:
        song.setnchannels(1)
        song.setsampwidth(1)
        song.setframerate(SOURCE_HZ)
        song.writeframes(b"\x80" * round(SOURCE_HZ * seconds))
    return file.getvalue()


class Visitor:
    """Register at a server; upload from the website's session, and lend it to a browser."""

    def __init__(self, server: Server, email: str) -> None:
        self.server = server
        self.email = email
        self._session = enter(server.url, email, "/register")
        self._session.headers["Accept"] = "application/json"

    def lend(self, context: BrowserContext) -> None:
        """Log a browser in."""
        cookies = self._session.cookies.get_dict()
        context.add_cookies([{"name": name, "value": cookies[name], "url": self.server.url} for name in cookies])

    def upload(self, name: str, content: bytes | None = None, **fields: object) -> str:
        """Upload a song, of a second if nothing else is said; return its id."""
        answer = self._session.post(
            f"{self.server.url}/upload",
            files={"file": (name, silence(1) if content is None else content)},
            data={"stems": 4} | fields,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["id"]

    def wait(self, job_id: str, status: str = "completed", seconds: float = 120.0) -> str:
        """Wait until a song has a status; return its id."""
        deadline = time.monotonic() + seconds
        while True:
            states = self._session.get(f"{self.server.url}/songs/states", timeout=60).json()["data"]
            state: dict[str, Any] = next(state for state in states if state["id"] == job_id)
            if state["status"] == status:
                return job_id
            assert time.monotonic() < deadline, f"{state} after {seconds} s"
            time.sleep(0.1)

    def delete(self, job_id: str) -> None:
        """Delete a song."""
        answer = self._session.post(f"{self.server.url}/songs/{job_id}/delete", timeout=60)
        assert answer.status_code == 200, answer.text

    def key(self) -> str:
        """Make a key."""
        answer = self._session.post(f"{self.server.api}/keys.php", timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["api_key"]
