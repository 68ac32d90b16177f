"""By which name the server may be called, and what it believes of the proxies in front of it."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, request
from flask.testing import FlaskClient

from ezstems import config
from ezstems.errors import ConfigurationError
from tests.conftest import Account
from tests.support.multipart import error_of
from tests.support.servers import Server
from tests.support.sessions import log_in

FORWARDED = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "stems.example.com"}


def seen_by(app: Flask) -> Callable[..., tuple[Any, ...]]:
    """Return a caller: the address, the scheme and the host that a request comes with, as a view sees them."""

    @app.get("/seen")
    def seen() -> dict[str, Any]:
        return {"seen": [request.remote_addr, request.scheme, request.host]}

    def call(**headers: str) -> tuple[Any, ...]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return tuple(app.test_client().get("/seen", headers=named).json["seen"])

    return call


@pytest.mark.parametrize(
    "host",
    ["localhost", "box.lan:8000", "192.168.1.5:80", "[::1]:8000", "EZ_stems:8000", "ez_stems", "a.b-c.example.", "x"],
)
def test_without_a_setting_any_name_will_do(client: FlaskClient, account: Account, host: str) -> None:
    headers = account.headers | {"Host": host}
    assert client.get("/api/v1/keys.php", headers=headers).status_code == 200
    url = f"http://{host.removesuffix(':80').lower()}"
    assert client.get("/api/openapi.json", headers={"Host": host}).json["servers"][0]["url"].startswith(url)
    assert f"{url}/api/v1" in client.get("/docs", headers={"Host": host}).text


@pytest.mark.parametrize("host", ["a b", "<script>", "a:b", "a:123456", "a/b", "b@a", "[::1", "é.example", "a,b", ":1"])
def test_what_is_no_host(client: FlaskClient, account: Account, host: str) -> None:
    sent = account.headers | {"Host": host.encode().decode("latin-1")}
    assert error_of(client.get("/api/v1/keys.php", headers=sent), 400).startswith("Host=")
    page = client.get("/docs", headers={"Host": host.encode().decode("latin-1")})
    assert (page.status_code, page.mimetype) == (400, "text/html")
    assert "<script>" not in page.text and page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("trusted", "host", "good"),
    [
        ("stems.example.com", "stems.example.com", True),
        ("stems.example.com", "STEMS.example.com:8443", True),
        ("stems.example.com", "stems.example.com.", True),
        ("stems.example.com", "www.stems.example.com", False),
        ("stems.example.com", "stems.example.com.evil.example", False),
        ("stems.example.com", "evilstems.example.com", False),
        ("stems.example.com", "127.0.0.1", False),
        ("stems.example.com", "", False),
        (".example.com", "example.com", True),
        (".example.com", "a.b.example.com:80", True),
        (".example.com", "evilexample.com", False),
        ("a.example, 127.0.0.1 [::1] ez_stems", "127.0.0.1:8000", True),
        ("a.example, 127.0.0.1 [::1] ez_stems", "[::1]:8000", True),
        ("a.example, 127.0.0.1 [::1] ez_stems", "ez_stems:8000", True),
        ("a.example, 127.0.0.1 [::1] ez_stems", "[::2]", False),
    ],
)
def test_trusted_hosts(make_app: Callable[..., Flask], trusted: str, host: str, good: bool) -> None:
    client = make_app(trusted_hosts=trusted).test_client()
    for path in ("/", "/docs", "/health", "/static/style.css", "/nowhere"):
        answer = client.get(path, headers={"Host": host})
        assert (answer.status_code != 400) == good, path
        assert "Referrer-Policy" in answer.headers
    for path in ("/api/v1/keys.php", "/api/openapi.json", "/api/nowhere"):
        answer = client.get(path, headers={"Host": host})
        assert (answer.status_code != 400) == good, path
        if not good:
            assert "Host=" in error_of(answer, 400) and answer.json["error"] == "Bad request"


def test_a_forwarded_host_is_trusted_no_more_than_another(make_app: Callable[..., Flask]) -> None:
    client = make_app(trusted_hosts="stems.example.com", proxies=1).test_client()
    for forwarded, status in (("stems.example.com", 200), ("evil.example", 400)):
        headers = {"Host": "127.0.0.1:8000", "X-Forwarded-Host": forwarded}
        assert client.get("/", headers=headers).status_code == status


@pytest.mark.parametrize("raw", ["stems.example.com:80", "https://a.example", "a b/c", "*", "a..b", "."])
def test_junk_in_the_setting(tmp_path: Path, raw: str) -> None:
    with pytest.raises(ConfigurationError, match="must be names like stems.example.com"):
        config.load(tmp_path, {"EZSTEMS_TRUSTED_HOSTS": raw})


@pytest.mark.parametrize("sent", [FORWARDED, *({name: value} for name, value in FORWARDED.items())])
def test_without_proxies_their_headers_count_for_nothing(
    app: Flask, caplog: pytest.LogCaptureFixture, sent: dict[str, str]
) -> None:
    seen = seen_by(app)
    for _ in range(2):
        assert seen(**sent) == ("127.0.0.1", "http", "localhost")
    told = f"{next(iter(sent))} is ignored, for EZSTEMS_PROXIES is 0"
    assert caplog.text.count(told) == 1, "an operator who forgot it is told, once"


def test_the_last_proxy_is_believed_and_nobody_before_it(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    one = seen_by(make_app(proxies=1))
    assert one(**FORWARDED) == ("203.0.113.7", "https", "stems.example.com")
    forged = {name: f"6.6.6.6, {value}" for name, value in FORWARDED.items()}
    assert one(**forged) == ("203.0.113.7", "https", "stems.example.com")
    assert one() == ("127.0.0.1", "http", "localhost")
    assert "EZSTEMS_PROXIES" not in caplog.text


def test_two_proxies(make_app: Callable[..., Flask]) -> None:
    two = seen_by(make_app(proxies=2))
    assert two(**{"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.0.0.1"})[0] == "203.0.113.7"
    assert two(**{"X-Forwarded-For": "10.0.0.1"})[0] == "127.0.0.1", "fewer than there are: it went around one"


@pytest.mark.parametrize("proxies", [0, 1])
def test_the_throttle_asks_the_address_that_can_be_believed(
    make_app: Callable[..., Flask], account: Account, proxies: int
) -> None:
    app = make_app(proxies=proxies, login_attempts=2)

    def wrong(forwarded: str) -> int:
        client = app.test_client()
        client.environ_base["HTTP_X_FORWARDED_FOR"] = forwarded
        return log_in(client, account.email, "not the password").status_code

    assert [wrong(f"6.6.6.{number}, 203.0.113.7") for number in range(3)] == [200, 200, 429]
    assert wrong("6.6.6.6, 203.0.113.8") == (200 if proxies else 429)


def spoken(server: Server, request: bytes) -> str:
    """Send bytes to a server; return all that it answers."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def test_gunicorn_has_no_opinion_of_its_own(instance: Path) -> None:
    """By default it takes the scheme from whoever calls from this machine, and a path from a header."""
    headers = FORWARDED | {"X-Forwarded-Protocol": "ssl", "X-Forwarded-Ssl": "on", "SCRIPT_NAME": "/x"}
    with Server(instance) as server:
        answer = requests.get(f"{server.url}/login", headers=headers, timeout=60)
        assert answer.status_code == 200 and "Secure" not in answer.headers["Set-Cookie"]
        assert 'href="/login"' in answer.text
        document = requests.get(f"{server.url}/api/openapi.json", headers=headers, timeout=60).json()
        assert document["servers"][0]["url"].startswith(server.url)
        page = spoken(server, b"GET /docs HTTP/1.0\r\n\r\n")
        assert page.startswith("HTTP/1.0 200") and f"{server.url}/api/v1" in page
        malformed = spoken(server, b"GET / HTTP/1.1\r\nno header\r\n\r\n")
        assert malformed.startswith("HTTP/1.1 400") and '"error": "Bad request"' in malformed
        for header in ("X-Content-Type-Options: nosniff", "Cache-Control: no-store", "Referrer-Policy: same-origin"):
            assert f"\r\n{header}\r\n" in malformed, "what gunicorn refuses is answered like the rest"
        server.stop()
        server.environ["EZSTEMS_PROXIES"] = "1"
        server.start()
        answer = requests.get(f"{server.url}/login", headers=headers, timeout=60)
        assert "Secure" in answer.headers["Set-Cookie"]
        document = requests.get(f"{server.url}/api/openapi.json", headers=headers, timeout=60).json()
        assert document["servers"][0]["url"].startswith("https://stems.example.com")
        server.logged("203.0.113.7 GET")
