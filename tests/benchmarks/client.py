"""A client of a real server: upload, wait, download, as a program would."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import requests

from tests.support.servers import Server

POLL_SECONDS = 0.05
CHUNK_BYTES = 1 << 20


class Client:
    """Have an account and a key on a server, started or not."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {server.key(plan='custom', max_mb=300)}"

    def separate(self, song: Path, stems: int, output: str = "wav") -> float:
        """Return the seconds from an upload's beginning to the ZIP in hand."""
        started = monotonic()
        with song.open("rb") as file:
            job = self._call("upload", data={"stems": stems, "output": output, "cutoff": "11kHz"}, files={"file": file})
        while (status := self._call("status", id=job["id"]))["status"] != "completed":
            assert status["status"] in ("queued", "processing"), status
            sleep(POLL_SECONDS)
        target = self.server.instance.with_suffix(".zip")
        url = f"{self.server.api}/download.php"
        with self._session.get(url, params={"id": job["id"]}, stream=True) as response, target.open("wb") as file:
            assert response.status_code == 200, response.text
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
        seconds = monotonic() - started
        target.unlink()
        return seconds

    def _call(self, name: str, *, data: Any = None, files: Any = None, **params: str) -> dict[str, Any]:
        url, method = f"{self.server.api}/{name}.php", "POST" if files else "GET"
        response = self._session.request(method, url, params=params, data=data, files=files)
        assert response.status_code == 200, response.text
        return response.json()["data"]


@contextmanager
def new_client(models: Path, folder: Path, **settings: object) -> Iterator[Client]:
    """Make a server with the models' official weights, on an instance of its own, and a client; start nothing."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        yield Client(Server(Path(place) / "instance", "wsgi:app", models=models, model="official", **settings))


@contextmanager
def warm_client(models: Path, folder: Path, **settings: object) -> Iterator[Client]:
    """Run such a server, and wait until its engine is warm."""
    with new_client(models, folder, **settings) as client, client.server:
        client.server.logged("warmed")
        yield client
