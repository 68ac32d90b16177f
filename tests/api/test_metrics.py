"""`/metrics` of a real gunicorn with two workers: right whichever is asked, and whatever is killed."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from tests.support.callers import Caller
from tests.support.receivers import Receiver, answer
from tests.support.separators import LABEL, SAMPLES
from tests.support.servers import Server

Sample = tuple[str, frozenset[tuple[str, str]]]


class Scrapes:
    """Read a server's metrics, of which those that count must never go back."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._last: dict[Sample, float] = {}

    def __call__(self) -> "Scrapes":
        """Ask anew, over a connection of its own."""
        answer = requests.get(f"{self._server.url}/metrics", timeout=60)
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
        self.process = int(answer.headers["X-Worker"])
        found: dict[Sample, float] = {}
        for family in text_string_to_metric_families(answer.text):
            assert family.documentation and family.type in ("counter", "gauge", "histogram")
            for sample in family.samples:
                name = sample.name, frozenset(sample.labels.items())
                assert name not in found, "twice in one answer"
                found[name] = sample.value
                if family.type != "gauge":
                    assert sample.value >= self._last.get(name, 0.0), name
        gone = {name for name in self._last if name not in found}
        assert not gone
        self._last = found
        return self

    def value(self, name: str, **labels: str) -> float:
        """Return a sample of the last answer, 0 where it has none."""
        return self._last.get((f"ezstems_{name}", frozenset(labels.items())), 0.0)

    def until(self, name: str, value: float, **labels: str) -> "Scrapes":
        """Ask until a value is there: an event is counted a moment after a client sees it."""
        deadline = time.monotonic() + 60
        while self().value(name, **labels) != value:
            assert time.monotonic() < deadline, (name, labels, self.value(name, **labels))
            time.sleep(0.05)
        return self


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("metrics") / "instance" / "metrics"
    folder.mkdir(parents=True)
    (folder / "counter_0.db").write_bytes(b"of an earlier run, and broken")
    (folder / "0.lock").touch()
    with Server(folder.parent, workers=2, metrics="on", webhooks="on", webhook_hosts="127.0.0.1") as server:
        yield server


@pytest.fixture(scope="module")
def caller(server: Server) -> Caller:
    return Caller(server, server.key())


def test_off_by_default(client: FlaskClient, instance: Path) -> None:
    assert client.get("/metrics").status_code == 404
    assert not (instance / "metrics").exists()


@pytest.mark.one_box("each process counts the jobs that it runs")
def test_sums_of_two_processes_and_no_step_back_after_a_kill(server: Server, caller: Caller, song: bytes) -> None:
    scrape = Scrapes(server)
    first, second = server.workers()
    assert scrape().value("ready") == 1
    assert scrape.value("model_info", model=LABEL) == 1
    assert scrape.value("free_disk_bytes") > 0
    assert scrape.value("job_events_total", event="queued") == 0

    server.hold()
    for worker, times in ((first, 2), (second, 3)):
        with server.only(worker):
            jobs = [caller.upload(song)["id"] for _ in range(times)]
            caller.wait(jobs[0], "processing")
            for _ in range(times):
                assert caller.get("status.php").headers["X-Worker"] == str(worker)
            requests.get(f"{server.url}/nowhere/{worker}", timeout=60)
    # While both run: one that is stopped between an answer and its counts, of which this is the last, would be missed.
    scrape.until("http_request_seconds_bucket", 5, le="+Inf", endpoint="/api/v1/upload.php")
    scrape.until("http_requests_total", 5, code="400", endpoint="/api/v1/status.php")
    scrape.until("http_requests_total", 2, code="404", endpoint="unmatched")
    for worker in (first, second):
        with server.only(worker):
            assert scrape.until("job_events_total", 2, event="started").process == worker
            assert (scrape.value("jobs_waiting"), scrape.value("jobs_running")) == (3, 2)
            assert scrape.value("job_events_total", event="queued") == 5
            assert scrape.value("upload_bytes_total") == 5 * len(song)
            upload = {"endpoint": "/api/v1/upload.php"}
            assert scrape.value("http_requests_total", code="200", **upload) == 5
            assert scrape.value("http_request_seconds_count", **upload) == 5
            assert scrape.value("http_request_seconds_bucket", le="+Inf", **upload) == 5
            assert 0 < scrape.value("http_request_seconds_sum", **upload) < 600
            assert scrape.value("http_requests_total", code="400", endpoint="/api/v1/status.php") == 5
            assert scrape.value("http_requests_total", code="404", endpoint="unmatched") == 2

    os.kill(first, signal.SIGKILL)
    scrape.until("job_events_total", 2, event="adopted")
    assert scrape.value("jobs_waiting") + scrape.value("jobs_running") == 5
    assert scrape.value("job_events_total", event="queued") == 5
    server.release()
    scrape.until("job_events_total", 5, event="completed")
    deadline = time.monotonic() + 60
    while len(server.workers()) < 2 or server.log.read_text().count("started with the model") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    scrape.until("separation_seconds_bucket", 5, le="+Inf")  # counted last of a job that is completed
    assert (scrape.value("jobs_waiting"), scrape.value("jobs_running")) == (0, 0)
    assert scrape.value("audio_seconds_total") == pytest.approx(5 * SAMPLES / 44_100)
    assert scrape.value("separation_seconds_count") == 5
    assert scrape.value("upload_bytes_total") == 5 * len(song)

    third = next(worker for worker in server.workers() if worker != second)
    with server.only(third):
        caller.upload(song)
        assert scrape.until("job_events_total", 6, event="completed").process == third
        scrape.until("http_requests_total", 6, code="200", endpoint="/api/v1/upload.php")
    files = sorted((server.instance / "metrics").glob("*.db"))
    assert [file.name for file in files] == ["counter_0.db", "counter_1.db", "histogram_0.db", "histogram_1.db"]
    for file in files:  # a page of a mapped file that finds no room on the disk would kill the process
        assert file.stat().st_blocks * 512 >= file.stat().st_size == 512 * 1024


def test_every_endpoint_has_its_name_and_no_path_of_a_client_has_one(server: Server, app: Flask) -> None:
    paths = ["/songs/1_2", "//songs//3_4", "/api//v1/status.php", "/static/style.css", "/static/nothing", "/health"]
    for path in (*paths, "/%00%ff", "/a\nb"):
        requests.get(f"{server.url}{path}", timeout=60)
        requests.request("ODD", f"{server.url}{path}", timeout=60)
    expected, names = {"/static/<path:filename>", "/songs/<job_id>", "/api/v1/status.php"}, set()
    deadline = time.monotonic() + 60
    while not expected <= names:  # counted a moment after the client sees the answer
        assert time.monotonic() < deadline, names
        answer = requests.get(f"{server.url}/metrics", timeout=60)
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        names = {sample.labels["endpoint"] for sample in families["ezstems_http_requests"].samples}
    assert names <= {"unmatched", "/metrics", *(rule.rule for rule in app.url_map.iter_rules())}


def test_without_its_files_the_server_serves(tmp_path: Path) -> None:
    instance = tmp_path / "instance"
    instance.mkdir()
    (instance / "metrics").write_text("in the way")
    with Server(instance, metrics="on") as server:
        scrape = Scrapes(server)()
        assert (scrape.value("ready"), scrape.value("jobs_waiting")) == (1, 0)
        assert "counts nothing for /metrics" in server.logged("GET '/metrics' 200")


def test_tries_to_send_webhooks_are_counted_by_what_came_of_them(server: Server, caller: Caller, song: bytes) -> None:
    scrape = Scrapes(server)
    assert scrape().value("webhook_tries_total", outcome="given_up") == 0
    with Receiver() as receiver:
        for status, outcome in ((200, "delivered"), (503, "retried"), (410, "gone")):
            receiver.behave = answer(status, "Retry-After: 3600")  # what is sent again would be answered as the next
            sent = caller.send(song, "song.wav", {}, stems=2, webhook_url=f"{receiver.url}/{status}")
            assert sent.status_code == 200
            scrape.until("webhook_tries_total", 1, outcome=outcome)
        lines = [request.line for request in receiver.requests]
    assert sorted(set(lines)) == [f"POST /hook/{status} HTTP/1.1" for status in (200, 410, 503)]
