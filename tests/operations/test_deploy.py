"""The shipped nginx site in a real nginx before a real gunicorn: what passes, what is refused, whom nobody holds up."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.clients.programs import curl
from tests.support.audio_files import write_wav
from tests.support.callers import Caller
from tests.support.proxies import NGINX, UPLOADS_OF_AN_ADDRESS, Nginx
from tests.support.servers import Server
from tests.support.sessions import enter

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

MIB = 1024 * 1024
EMAIL = "someone@example.com"
SLOW_CLIENTS = 40  # more than the server has threads
MALFORMED = {
    "a NUL": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a long address": b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 40_000),
    "a long header": b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n" % (b"a" * 40_000),
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
    "a compressed transfer": b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
}
TOO_LARGE = {
    "an upload": b"POST /api/v1/upload.php HTTP/1.1\r\nHost: x\r\nContent-Length: 536870913\r\n\r\n",
    "a form": b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return Server(tmp_path_factory.mktemp("deploy") / "instance", proxies=1, metrics="on")


@pytest.fixture(scope="module")
def nginx(server: Server) -> Iterator[Nginx]:
    with Nginx(server.instance.parent / "nginx", f"127.0.0.1:{server.port}") as nginx, server:
        yield nginx


@pytest.fixture(scope="module")
def caller(nginx: Nginx, server: Server) -> Caller:
    """Return a caller through nginx."""
    server.api = f"{nginx.url}/api/v1"
    return Caller(server, server.key(EMAIL))


def wav(folder: Path, size_mib: int) -> bytes:
    return write_wav(folder / "song.wav", np.zeros((size_mib * MIB // 8, 2), np.float32)).read_bytes()


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def connect(nginx: Nginx, address: str = "127.0.0.1") -> socket.socket:
    """Connect from an address of this machine's many."""
    return socket.create_connection(("127.0.0.1", nginx.port), timeout=60, source_address=(address, 0))


def ask(nginx: Nginx, request: bytes, address: str = "127.0.0.1") -> tuple[int, dict[str, str], Mapping[str, str]]:
    """Send a request as it is; return the answer's status, body and headers."""
    with closing(connect(nginx, address)) as connection:
        connection.sendall(request)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read()), answer.headers


def upload_of(caller: Caller, content: bytes) -> bytes:
    """Return an upload's head and body."""
    request = requests.Request(
        "POST", "http://x", files={"file": ("song.wav", content)}, data={"stems": "2"}, headers=caller.headers
    ).prepare()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    assert isinstance(request.body, bytes)
    return f"POST /api/v1/upload.php HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + request.body


def test_the_shipped_site_is_valid(nginx: Nginx) -> None:
    assert "[warn]" not in nginx.check()


def test_an_upload_is_streamed_to_the_server_while_it_comes(
    nginx: Nginx, caller: Caller, tmp_path: Path
) -> None:
    whole = upload_of(caller, wav(tmp_path, 28))
    with closing(connect(nginx)) as connection:
        connection.sendall(whole[: 16 * MIB])
        eventually(lambda: sum(part.stat().st_size for part in caller.server.parts()) > 12 * MIB, "nothing arrives")
        assert nginx.scratch() == []
        connection.sendall(whole[16 * MIB :])
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200
        caller.wait(json.loads(answer.read())["data"]["id"])


def test_what_is_too_large_for_the_plan_reaches_the_server(caller: Caller, tmp_path: Path) -> None:
    answer = caller.send(wav(tmp_path, 40), stems=2)
    assert answer.status_code == 400
    assert answer.json()["message"] == "The file is over the 30 MB that the basic plan allows."
    assert caller.server.uploads() == caller.server.kept_uploads()


@pytest.mark.parametrize("request_bytes", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_what_is_too_large_for_nginx_gets_the_contracts_400(nginx: Nginx, request_bytes: bytes) -> None:
    status, body, headers = ask(nginx, request_bytes)
    assert (status, list(body), body["error"]) == (400, ["error", "message"], "File too large")
    assert headers["X-Request-ID"]


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_nginx_cannot_read_gets_the_contracts_400(nginx: Nginx, request_bytes: bytes) -> None:
    status, body, headers = ask(nginx, request_bytes)
    assert (status, list(body), body["error"]) == (400, ["error", "message"], "Bad request")
    assert headers["Content-Type"] == "application/json" and headers["X-Request-ID"]


def test_a_wrong_key_is_told_before_the_body_to_who_waits_for_that(
    nginx: Nginx, caller: Caller, tmp_path: Path
) -> None:
    song = tmp_path / "song.wav"
    with song.open("wb") as file:
        file.truncate(90_000_000)
    form = ("-F", f"file=@{song}", "-F", "stems=2", "-H", "Expect: 100-continue", f"{nginx.url}/api/v1/upload.php")
    for authorization, status in (("Bearer no", 401), (caller.headers["Authorization"], 400)):
        for _ in range(5):
            printed = curl(
                tmp_path, "--limit-rate", "5M", "-H", f"Authorization: {authorization}", *form,
                "-w", "\n%{http_code} %{size_upload}",
            )  # fmt: skip
            answer, _, said = printed.rpartition("\n")
            code, sent_bytes = map(int, said.split())
            assert (code, list(json.loads(answer))) == (status, ["error", "message"])
            # nginx itself tells a client to go on, so some of the body comes, until the answer does.
            assert sent_bytes < 45_000_000


def test_several_slashes_are_one(nginx: Nginx, caller: Caller, song: bytes) -> None:
    for path in ("/api/v1//keys.php", "//api/v1/keys.php", "/api//v1/%2fkeys.php"):
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {caller.headers['Authorization']}\r\n\r\n"
        status, body, _ = ask(nginx, head.encode())
        assert (status, body["success"]) == (200, True), path
    uploaded = upload_of(caller, song).replace(b"/api/v1/", b"//api/v1//", 1)
    status, body, _ = ask(nginx, uploaded)
    assert (status, body["success"]) == (200, True)


def test_metrics_are_not_for_outside(nginx: Nginx, server: Server) -> None:
    assert requests.get(f"{server.url}/metrics", timeout=60).status_code == 200
    for path in ("/metrics", "/%6detrics", "//metrics", "/%2fmetrics", "/%2f/metrics", "/./metrics", "/metrics?a"):
        status, body, _ = ask(nginx, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (status, body["error"]) == (404, "Not found"), path


def test_a_download_equals_the_direct_one_whole_and_by_range_and_fills_no_disk(
    nginx: Nginx, caller: Caller, song: bytes
) -> None:
    server = caller.server
    job_id = caller.upload(song)["id"]
    caller.wait(job_id)
    content = np.random.default_rng(0).bytes(24 * MIB)
    server.resize(job_id, len(content)).write_bytes(content)
    path = f"/api/v1/download.php?id={job_id}"
    for asked in ("bytes=100-", "bytes=-5000000", "bytes=7-16777222", "bytes=99999999-"):
        through, direct = (
            requests.get(f"{url}{path}", headers=caller.headers | {"Range": asked}, timeout=60)
            for url in (nginx.url, server.url)
        )
        assert through.status_code == direct.status_code in (206, 416)
        assert through.status_code == 416 or through.content == direct.content
        assert [through.headers.get(n) for n in ("ETag", "Content-Range")] == [
            direct.headers.get(n) for n in ("ETag", "Content-Range")
        ]
    with requests.get(f"{nginx.url}{path}", headers=caller.headers, stream=True, timeout=60) as whole:
        got = next(blocks := whole.iter_content(MIB))
        for _ in range(20):  # nginx has the time to take more than its reader
            time.sleep(0.05)
            assert nginx.scratch() == []
        assert got + b"".join(blocks) == content
        assert int(whole.headers["Content-Length"]) == len(content)
        etag = whole.headers["ETag"]
    again = requests.get(f"{nginx.url}{path}", headers=caller.headers | {"If-None-Match": etag}, timeout=60)
    assert again.status_code == 304


def test_the_server_sees_who_calls_and_no_forgery(nginx: Nginx, caller: Caller) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    with closing(HTTPConnection("127.0.0.1", nginx.port, 60, source_address=("127.0.0.9", 0))) as connection:
        connection.request("GET", "/login", headers=forged | {"X-Request-ID": "from-afar"})
        answer = connection.getresponse()
        page = answer.read().decode()
    assert answer.status == 200
    assert "Secure" not in answer.headers["Set-Cookie"] and "evil.example" not in page
    log = caller.server.logged("from-afar")
    (line,) = [line for line in log.splitlines() if "from-afar" in line]
    assert "127.0.0.9" in line and "6.6.6.6" not in line


def test_a_login_over_tls_gets_secure_cookies(nginx: Nginx, caller: Caller) -> None:
    if not nginx.certificate.exists():
        pytest.skip("openssl is not installed")
    with enter(nginx.tls, EMAIL, verify=str(nginx.certificate)) as session:
        assert session.cookies and all(cookie.secure for cookie in session.cookies)
        document = session.get(f"{nginx.tls}/api/openapi.json", timeout=60).json()
        assert document["servers"][0]["url"].startswith(nginx.tls)
    with enter(nginx.url, EMAIL) as session:
        assert session.cookies and not any(cookie.secure for cookie in session.cookies)


def test_slow_clients_hold_up_nobody(nginx: Nginx, caller: Caller) -> None:
    headers_only = b"GET /login HTTP/1.1\r\nHost: x\r\n"
    with ExitStack() as stack:
        for number in range(SLOW_CLIENTS):
            address = f"127.0.1.{number % 4 + 1}"
            for beginning in (headers_only, b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nemail="):
                stack.enter_context(closing(connect(nginx, address))).sendall(beginning)
        for _ in range(20):
            assert caller.get("keys.php").status_code == 200


def test_slow_uploads_of_one_address_cannot_take_all_places(nginx: Nginx, caller: Caller, tmp_path: Path) -> None:
    whole = upload_of(caller, wav(tmp_path, 2))
    with ExitStack() as stack:
        for _ in range(UPLOADS_OF_AN_ADDRESS):
            stack.enter_context(closing(connect(nginx, "127.0.0.20"))).sendall(whole[:-1000])
        eventually(lambda: len(caller.server.parts()) == UPLOADS_OF_AN_ADDRESS, "the uploads never began")
        status, body, headers = ask(nginx, whole, "127.0.0.20")
        assert (status, list(body), body["error"]) == (500, ["error", "message"], "Server full")
        assert int(headers["Retry-After"]) > 0
        assert ask(nginx, whole, "127.0.0.21")[0] == 200
        other = f"GET /api/v1/keys.php HTTP/1.1\r\nHost: x\r\nAuthorization: {caller.headers['Authorization']}\r\n\r\n"
        assert ask(nginx, other.encode(), "127.0.0.20")[0] == 200
    eventually(lambda: caller.server.parts() == [], "broken uploads leave their parts")


def test_a_stopped_server_is_said_to_be_away_and_back_at_once(nginx: Nginx, caller: Caller, song: bytes) -> None:
    job_id = caller.upload(song)["id"]
    caller.server.stop()
    for path in ("status.php", "upload.php", "keys.php"):
        answer = requests.get(f"{caller.server.api}/{path}", headers={"Accept": "text/html"}, timeout=60)
        assert (answer.status_code, list(answer.json())) == (500, ["error", "message"])
        assert answer.json()["error"] == "Server away"
        assert int(answer.headers["Retry-After"]) > 0 and answer.headers["X-Request-ID"]
    page = requests.get(f"{nginx.url}/songs", headers={"Accept": "text/html,*/*"}, timeout=60)
    assert (page.status_code, page.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert "tries again" in page.text
    caller.server.start()
    caller.wait(job_id)


def test_the_server_behind_a_unix_socket(tmp_path: Path, song: bytes) -> None:
    path = tmp_path / "http.sock"
    with Nginx(tmp_path / "nginx", f"unix:{path}") as nginx:
        server = Server(tmp_path / "instance", bind=f"unix:{path}", proxies=1)
        server.url, server.api = nginx.url, f"{nginx.url}/api/v1"
        with server:
            caller = Caller(server, server.key())
            job_id = caller.upload(song)["id"]
            caller.wait(job_id)
            assert caller.get("download.php", id=job_id).content[:2] == b"PK"
            ask(nginx, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Request-ID: by-socket\r\n\r\n", "127.0.0.9")
            (line,) = [line for line in server.logged("by-socket").splitlines() if "by-socket" in line]
            assert "127.0.0.9" in line
