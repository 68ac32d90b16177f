"""One message to receivers that are well, down or hostile: each try ends in time, and takes little memory."""

import importlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ezstems.webhooks.hosts import AllowedHosts
from ezstems.webhooks.post import Answer, post
from tests.support.receivers import Behaviour, Receiver, answer, close, drip, endless, silence

post_module = importlib.import_module("ezstems.webhooks.post")
HERE = AllowedHosts(["127.0.0.0/8"])
# What is awaited to the end of a try ends soon; what ends by itself does long before it.
SHORT_TRY_SECONDS, SOON_SECONDS, LONG_TRY_SECONDS = 0.6, 12.0, 60.0


@pytest.fixture(autouse=True)
def _long_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_module, "TRY_SECONDS", LONG_TRY_SECONDS)


def send(url: str, body: bytes = b"{}") -> tuple[Answer, float]:
    began = time.monotonic()
    return post(url, body, {"webhook-id": "msg_1"}, HERE), time.monotonic() - began


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Receiver() as receiver:
        assert send(f"{receiver.url}/a%20b?c=d", b'{"a": 1}')[0] == Answer(204)
        (request,) = receiver.until(1)
    assert request.line == "POST /hook/a%20b?c=d HTTP/1.1"
    assert request.body == b'{"a": 1}'
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}" and request.headers["content-length"] == "8"
    assert request.headers["webhook-id"] == "msg_1" and request.headers["connection"] == "close"
    own = {"host", "content-length", "webhook-id", "connection"}
    assert set(request.headers) == own | {"accept-encoding", "user-agent"}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with Receiver() as other, Receiver(answer(status, f"Location: {other.url}")) as receiver:
        found, _ = send(receiver.url)
    assert (found.status, found.is_success) == (status, False)
    assert (len(receiver.requests), other.requests) == (1, [])


@pytest.mark.parametrize(
    ("behave", "status"),
    [
        (answer(200, body=b"ok"), 200),
        (answer(202, "Retry-After: 5"), 202),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), 200),
        (endless(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"x" * 65536), 200),
        (endless(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"fffff\r\n"), 500),
        (answer(503, "Retry-After: 5"), 503),
        (answer(410), 410),
        (answer(999), 999),
    ],
)
def test_a_status_counts_whatever_follows_it(behave: Behaviour, status: int) -> None:
    with Receiver(behave) as receiver:
        found, seconds = send(receiver.url)
    assert (found.status, found.trouble, found.is_success) == (status, None, 200 <= status < 300)
    assert seconds < SOON_SECONDS


@pytest.mark.parametrize(
    ("behave", "trouble"),
    [
        (silence, "no answer within"),
        (drip, "no answer within"),
        (lambda connection, over: drip(connection, over, b"HTTP/1.1 200 OK\r\nA: b\r\nC: d"), "no answer within"),
        (endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"), "no answer within"),
        (endless(b"HTTP/1.1 200 OK\r\nA: ", b"x" * 65536), "its answer is not HTTP"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000), "its answer is not HTTP"),
        (endless(b"", b"x" * 65536), "its answer is not HTTP"),
        (lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH\r\n"), "its answer is not HTTP"),
        (close, "the connection was broken off"),
    ],
    ids=["silence", "drip", "drip of headers", "100", "header", "headers", "junk", "ssh", "close"],
)
def test_a_receiver_that_is_hostile(behave: Behaviour, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if trouble == "no answer within":
        monkeypatch.setattr(post_module, "TRY_SECONDS", SHORT_TRY_SECONDS)
    tracemalloc.start()
    with Receiver(behave) as receiver:
        found, seconds = send(receiver.url)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.status is None and found.trouble is not None and found.trouble.startswith(trouble)
    assert seconds < SOON_SECONDS and most_bytes < 8 * 1024**2


def test_a_port_where_nobody_listens_and_a_name_that_is_none() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # by nobody else either, while it is bound
        assert send(f"http://127.0.0.1:{taken.getsockname()[1]}/")[0].trouble == "the connection was refused"
    none = post("https://name.invalid/", b"{}", {}, HERE)
    assert none.trouble == "its name was not found"


def test_no_threads_are_left() -> None:
    before = threading.active_count()
    with Receiver(close) as receiver:
        for _ in range(5):
            send(receiver.url)
    deadline = time.monotonic() + 60
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for hook.example, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = (openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    names = ("-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example")
    subprocess.run([*made, *names, "-keyout", f"{path}.key", "-out", f"{path}.crt"], capture_output=True, check=True)
    path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def _names_lead_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: int, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host.endswith(".example") else host, port, *rest, **named)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_module, "_tls", lambda: ssl.create_default_context(cafile=certificate))


@pytest.mark.usefixtures("_names_lead_here", "_trusted")
def test_tls_is_asked_for_by_name_at_the_address(certificate: Path) -> None:
    with Receiver(certificate=certificate) as receiver:
        assert send(f"https://hook.example:{receiver.port}/hook")[0] == Answer(204)
        (request,) = receiver.until(1)
        assert receiver.names == ["hook.example"]
        assert request.headers["host"] == f"hook.example:{receiver.port}"
        wrong, _ = send(f"https://other.example:{receiver.port}/hook")
        assert wrong.trouble == "its certificate is not valid for its name"
        assert send(receiver.url)[0].trouble == "its certificate is not valid for its name"
        assert len(receiver.requests) == 1


@pytest.mark.usefixtures("_names_lead_here")
def test_a_certificate_that_nobody_vouches_for_is_none(certificate: Path) -> None:
    with Receiver(certificate=certificate) as receiver:
        found, _ = send(f"https://hook.example:{receiver.port}/hook")
    assert found.trouble == "its certificate is not valid for its name" and receiver.requests == []


def test_a_receiver_that_speaks_no_tls_or_never_ends_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(silence) as receiver, monkeypatch.context() as short:
        short.setattr(post_module, "TRY_SECONDS", SHORT_TRY_SECONDS)
        found, seconds = send(receiver.url.replace("http:", "https:"))
        assert found.trouble is not None and seconds < SOON_SECONDS
    with Receiver(answer(200)) as receiver:
        receiver._read = lambda connection: receiver.behave(connection, receiver._over)  # type: ignore[assignment, return-value, func-returns-value]
        found, _ = send(receiver.url.replace("http:", "https:"))
        assert found.trouble == "TLS failed"
