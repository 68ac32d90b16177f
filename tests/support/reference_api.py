"""A server that speaks the API's contract and nothing beside it, or what goes beyond it too, and fails when told to."""

import hashlib
import io
import json
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from werkzeug.formparser import parse_form_data

KEY = "the-key"
STEMS = {"vocals.wav": b"v" * 300_000, "accompaniment.wav": b"a" * 200_000}


def zipped(stems: dict[str, bytes], comment: str = "") -> bytes:
    """Return a ZIP of files by their names, whatever those are."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in stems.items():
            archive.writestr(name, content)
        archive.comment = comment.encode()
    return packed.getvalue()


@dataclass
class Fault:
    """Say what happens to one call in place of what should.

    With a `status` it is answered so; `lose` does the work and answers nothing; `cut` ends a body after so many bytes.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    lose: bool = False
    cut: int = -1


def refusal(status: int, error: str, message: str = "", **headers: object) -> Fault:
    """Return the fault that is an error in the API's form."""
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return Fault(status, named, json.dumps({"error": error, "message": message}).encode())


@dataclass
class Call:
    """Remember one call."""

    method: str
    endpoint: str
    headers: dict[str, str]
    fields: dict[str, str] = field(default_factory=dict)
    file: tuple[str, str] | None = None  # its name and its SHA-256


class ReferenceServer(ThreadingHTTPServer):
    """Serve jobs that are queued, then processed, then completed: one step a look at their status."""

    daemon_threads = True

    def __init__(self, *, beyond: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.beyond = beyond
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.calls: list[Call] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.answers: dict[str, bytes] = {}
        self.archive = zipped(STEMS)
        self.etag = '"1"'
        self.endings: list[dict[str, Any]] = []  # of the next jobs, where they aren't completed
        self.asked = threading.Event()
        self.takes = threading.Lock()

    def endpoints(self, method: str = "GET") -> list[str]:
        """Return what was called, in order."""
        return [call.endpoint for call in self.calls if call.method == method]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hung up."""


class Handler(BaseHTTPRequestHandler):
    """Answer one call."""

    server: ReferenceServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_DELETE = do_GET

    def _answer(self) -> None:
        address = urlsplit(self.path)
        endpoint = address.path.removeprefix("/api/v1/")
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        headers = {name.title(): value for name, value in self.headers.items()}
        call = Call(self.command, endpoint, headers)
        with self.server.takes:
            self.server.calls.append(call)
            faults = self.server.faults[endpoint]
            fault = faults.pop(0) if faults else Fault()
        self.server.asked.set()
        if fault.cut >= 0 and endpoint == "upload.php":
            self.rfile.read(fault.cut)
            self._hang_up()
        elif fault.status:
            self._drain()
            self._send(fault.status, fault.body, fault.headers)
        elif headers.get("Authorization") != f"Bearer {KEY}":
            self._drain()
            self._fail(401, "Unauthorized", "The key is unknown.")
        else:
            getattr(self, f"_{endpoint.removesuffix('.php')}", self._unknown)(call, query, fault)

    def _keys(self, call: Call, query: dict[str, str], fault: Fault) -> None:
        self._succeed([])

    def _upload(self, call: Call, query: dict[str, str], fault: Fault) -> None:
        environ = {
            "wsgi.input": self.rfile,
            "CONTENT_LENGTH": self.headers["Content-Length"],
            "CONTENT_TYPE": self.headers["Content-Type"],
            "REQUEST_METHOD": "POST",
        }
        _, form, files = parse_form_data(environ)
        call.fields = form.to_dict()
        file = files["file"]
        digest = hashlib.sha256()
        for block in iter(lambda: file.stream.read(65_536), b""):
            digest.update(block)
        call.file = str(file.filename), digest.hexdigest()
        key = self.headers.get("Idempotency-Key", "") if self.server.beyond else ""
        with self.server.takes:
            replayed = key in self.server.answers
            if not replayed:
                job_id = f"{1_700_000_000 + len(self.server.jobs)}_{call.fields['stems']}"
                ending = self.server.endings.pop(0) if self.server.endings else {"status": "completed"}
                steps = [{"status": "queued", "queue_position": 1}, {"status": "processing", "progress": 50}, ending]
                self.server.jobs[job_id] = [{"queue_position": 0} | step | {"id": job_id} for step in steps]
                answer = json.dumps({"success": True, "data": {"id": job_id, "status": "queued"}}).encode()
                self.server.answers[key or job_id] = answer
            else:
                answer = self.server.answers[key]
        if fault.lose:
            self._hang_up()
        else:
            self._send(200, answer, {"Idempotent-Replayed": "true"} if replayed else {})

    def _status(self, call: Call, query: dict[str, str], fault: Fault) -> None:
        steps = self.server.jobs.get(query["id"])
        if steps is None:
            self._fail(404, "Not found", "There is no such job.")
            return
        waits = self.server.beyond and "Prefer" in self.headers
        if waits:  # as if that had taken until the end
            del steps[:-1]
        data = steps.pop(0) if len(steps) > 1 else steps[0]
        self._succeed(data, {"Preference-Applied": self.headers["Prefer"]} if waits else {})

    def _download(self, call: Call, query: dict[str, str], fault: Fault) -> None:
        whole, start = self.server.archive, 0
        asked = self.headers.get("Range", "")
        if asked and self.headers.get("If-Range", self.server.etag) == self.server.etag and self.server.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": self.server.etag} if self.server.etag else {}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        self._send(206 if start else 200, whole[start:], headers, fault.cut)

    def _jobs(self, call: Call, query: dict[str, str], fault: Fault) -> None:
        if not self.server.beyond:
            self._unknown(call, query, fault)
        elif self.command == "GET":
            self._succeed([])
        else:
            del self.server.jobs[query["id"]]
            self._send(200, json.dumps({"success": True, "message": "Job deleted successfully"}).encode(), {})

    def _unknown(self, call: Call, query: dict[str, str], fault: Fault) -> None:
        self._fail(404, "Not found", "There is nothing here.")

    def _succeed(self, data: Any, headers: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps({"success": True, "data": data}).encode(), headers or {})

    def _fail(self, status: int, error: str, message: str) -> None:
        self._send(status, json.dumps({"error": error, "message": message}).encode(), {})

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int = -1) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut < 0 else body[:cut])
        if cut >= 0:
            self._hang_up()

    def _drain(self) -> None:
        left = int(self.headers.get("Content-Length", 0))
        while left and (block := self.rfile.read(min(left, 65_536))):
            left -= len(block)

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True


@contextmanager
def serving(*, beyond: bool = False) -> Iterator[ReferenceServer]:
    """Run such a server for a block."""
    server = ReferenceServer(beyond=beyond)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
