"""Which URLs webhooks may go to, told at once where it shows, and when they are sent where a name leads elsewhere."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from ezstems.errors import BadInput, ConfigurationError
from ezstems.webhooks import checked_url
from ezstems.webhooks.hosts import AllowedHosts
from ezstems.webhooks.post import post
from ezstems.webhooks.url import parsed

NONE = AllowedHosts([])
PUBLIC, DIGITS = "must lead to a public address", "as four numbers"
# What a URL is refused for, without a question to anybody.
REFUSED = {
    "http://example.com/hook": "must begin with https://",
    "http://93.184.215.14/": "must begin with https://",
    "ftp://example.com/": "must begin with https:// and name a host",
    "file:///etc/passwd": "must begin with https:// and name a host",
    "example.com/hook": "must begin with https:// and name a host",
    "//example.com/hook": "must begin with https:// and name a host",
    "https://": "must begin with https:// and name a host",
    "https:///hook": "must begin with https:// and name a host",
    "https://:443/": "must begin with https:// and name a host",
    "https://user@example.com/": "must hold no name or password",
    "https://user:word@example.com/": "must hold no name or password",
    "https://@example.com/": "must hold no name or password",
    "https://example.com@127.0.0.1/": "must hold no name or password",
    "https://example.com\\@127.0.0.1/": "must not hold spaces",
    "https://example.com/ hook": "must not hold spaces",
    "https://example.com/\r\nX: y": "must not hold spaces",
    "https://example.com/#part": "must not hold spaces",
    "https://example.com:0/": "must have a port from 1 to 65535",
    "https://example.com:65536/": "must be a URL",
    "https://example.com:port/": "must be a URL",
    "https://localhost/": PUBLIC,
    "https://LOCALHOST./": PUBLIC,
    "https://a.localhost/": PUBLIC,
    "https://0.0.0.0/": PUBLIC,
    "https://10.1.2.3/": PUBLIC,
    "https://100.64.0.1/": PUBLIC,
    "https://127.0.0.1/": PUBLIC,
    "https://127.0.0.1./": PUBLIC,
    "https://169.254.169.254/latest/meta-data": PUBLIC,
    "https://172.16.0.1/": PUBLIC,
    "https://192.0.0.1/": PUBLIC,
    "https://192.88.99.1/": PUBLIC,
    "https://192.168.0.1:8443/": PUBLIC,
    "https://198.18.0.1/": PUBLIC,
    "https://203.0.113.1/": PUBLIC,
    "https://224.0.0.1/": PUBLIC,
    "https://240.0.0.1/": PUBLIC,
    "https://255.255.255.255/": PUBLIC,
    "https://127.1/": DIGITS,
    "https://2130706433/": DIGITS,
    "https://0x7f000001/": DIGITS,
    "https://0x7f.1/": DIGITS,
    "https://0177.0.0.1/": DIGITS,
    "https://127.0.0.0x1/": DIGITS,
    "https://example.com.1/": DIGITS,
    "https://１２７.0.0.1/": "must be a URL",
    "https://%31%32%37.0.0.1/": PUBLIC,
    "https://[::]/": PUBLIC,
    "https://[::1]/": PUBLIC,
    "https://[::127.0.0.1]/": PUBLIC,
    "https://[::ffff:127.0.0.1]/": PUBLIC,
    "https://[::ffff:8.8.8.8]/": PUBLIC,
    "https://[::ffff:0:127.0.0.1]/": PUBLIC,
    "https://[64:ff9b::10.0.0.1]/": PUBLIC,
    "https://[64:ff9b:1::8.8.8.8]/": PUBLIC,
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/": PUBLIC,
    "https://[2001:db8::1]/": PUBLIC,
    "https://[2002:7f00:1::]/": PUBLIC,
    "https://[3fff::1]/": PUBLIC,
    "https://[fc00::1]/": PUBLIC,
    "https://[fd00:ec2::254]/": PUBLIC,
    "https://[fe80::1]/": PUBLIC,
    "https://[fe80::1%25eth0]/": "without a zone",
    "https://[2606:4700::1111%251]/": "without a zone",
    "https://[fec0::1]/": PUBLIC,
    "https://[ff02::1]/": PUBLIC,
    "https://[::1/": "must be a URL",
    f"https://{'a' * 64}.com/": "must name a host",
    f"https://{'a.' * 130}com/": "must name a host",
    "https://a..b.com/": "must",
    "https://exa mple.com/": "must not hold spaces",
    f"https://example.com/{'a' * 2000}": "must have at most 2000 characters",
}
TAKEN = {
    "https://example.com/hook?token=a%20b&c": ("example.com", 443, "/hook?token=a%20b&c"),
    "https://EXAMPLE.com.": ("example.com", 443, "/"),
    "https://example.com:8443/a/../hook": ("example.com", 8443, "/hook"),
    "https://under_score.example.com//x": ("under_score.example.com", 443, "//x"),
    "https://bücher.example/hook": ("xn--bcher-kva.example", 443, "/hook"),
    "https://93.184.215.14/": ("93.184.215.14", 443, "/"),
    "https://[2606:4700:4700::1111]:444/": ("2606:4700:4700::1111", 444, "/"),
    "https://[64:ff9b::8.8.8.8]/": ("64:ff9b::808:808", 443, "/"),
}


@pytest.mark.parametrize(("url", "rule"), REFUSED.items())
def test_a_url_that_is_refused(url: str, rule: str) -> None:
    with pytest.raises(BadInput) as error:
        checked_url(url, NONE)
    assert rule in str(error.value) and str(error.value).startswith(f"webhook_url={url[:64]!r} ")


@pytest.mark.parametrize(("url", "parts"), TAKEN.items())
def test_a_url_that_is_taken(url: str, parts: tuple[str, int, str]) -> None:
    assert checked_url(url, NONE) == url
    found = parsed(url)
    assert (found.host, found.port, found.target) == parts


@pytest.mark.parametrize(
    ("items", "url", "is_allowed"),
    [
        (["box.lan"], "http://box.lan:5678/hook", True),
        (["BOX.lan"], "https://box.LAN./", True),
        (["box.lan"], "http://a.box.lan/", False),
        ([".lan"], "http://a.box.lan/", True),
        ([".lan"], "http://lan/", False),
        ([".lan"], "http://plan/", False),
        (["localhost"], "http://localhost:1/", True),
        (["127.0.0.1"], "http://127.0.0.1:1/", True),
        (["127.0.0.1"], "http://127.0.0.2:1/", False),
        (["127.0.0.1"], "http://[::ffff:127.0.0.1]/", False),
        (["10.0.0.0/8"], "http://10.2.3.4/", True),
        (["10.0.0.0/8"], "http://11.2.3.4/", False),
        (["10.0.0.0/8"], "http://box.lan/", False),
        (["10.0.0.1/8"], "https://10.2.3.4/", True),
        (["fd00::/8"], "http://[fd12::1]/", True),
        (["[::1]"], "http://[::1]/", True),
        (["10.0.0.0/8"], "http://10.1/", False),
    ],
)
def test_what_the_operator_allows_besides(items: list[str], url: str, is_allowed: bool) -> None:
    if is_allowed:
        assert checked_url(url, AllowedHosts(items)) == url
    else:
        with pytest.raises(BadInput):
            checked_url(url, AllowedHosts(items))


@pytest.mark.parametrize("item", ["10.0.0.0/33", "http://box.lan", "box.lan:80", "10.0.0", "*", "0x7f.1", "a b"])
def test_what_no_operator_can_mean(item: str) -> None:
    with pytest.raises(ConfigurationError, match="EZSTEMS_WEBHOOK_HOSTS="):
        AllowedHosts([item])



@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return how to say what a name leads to, each time that it is asked for; it returns what is connected to."""

    def set_up(*answers: list[str]) -> list[str]:
        connected: list[str] = []
        left = list(answers)

        def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
            if host != "example.com":  # an address, which urllib3 asks for as well
                assert socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
                return real(host, port, *_, **__)
            found = left.pop(0)
            return [(socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "",
                     (each, port)) for each in found]  # fmt: skip

        def connect(sock: socket.socket, address: tuple[str, int]) -> None:
            connected.append(address[0])
            raise ConnectionRefusedError

        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(socket.socket, "connect", connect)
        return connected

    return set_up


@pytest.mark.parametrize(
    "leads",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["100.100.100.200"],
        ["169.254.169.254"],
        ["0.0.0.0"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::1"],
        ["fe80::1%1"],
        ["fd00:ec2::254"],
        ["93.184.215.14", "127.0.0.1"],
        ["2606:4700::1111", "fc00::1", "93.184.215.14"],
    ],
)
def test_a_name_that_leads_to_anything_private_is_not_connected_to(
    resolved: Callable[..., list[str]], leads: list[str]
) -> None:
    connected = resolved(leads)
    answer = post("https://example.com/hook", b"{}", {}, NONE)
    assert (answer.status, answer.trouble) == (None, "it leads to an address that is not public")
    assert connected == []


def test_what_a_name_leads_to_after_the_check_changes_nothing(resolved: Callable[..., list[str]]) -> None:
    connected = resolved(["93.184.215.14"], ["127.0.0.1"])
    answer = post("https://example.com/hook", b"{}", {}, NONE)
    assert answer.trouble == "the connection was refused"
    assert connected == ["93.184.215.14"], "asked once, and connected to what was checked"


def test_a_name_with_many_addresses_is_tried_at_a_few(resolved: Callable[..., list[str]]) -> None:
    connected = resolved([f"93.184.215.{number}" for number in range(1, 100)])
    post("https://example.com/hook", b"{}", {}, NONE)
    assert connected == [f"93.184.215.{number}" for number in range(1, 5)]


def test_a_name_may_lead_into_a_network_that_the_operator_allows(resolved: Callable[..., list[str]]) -> None:
    connected = resolved(["10.0.0.7"])
    post("https://example.com/hook", b"{}", {}, AllowedHosts(["10.0.0.0/24"]))
    assert connected == ["10.0.0.7"]


def test_a_url_that_is_allowed_no_longer_is_not_sent_to(resolved: Callable[..., list[str]]) -> None:
    connected = resolved()
    assert post("http://127.0.0.1:1/", b"{}", {}, NONE).trouble == "the URL is not allowed here"
    assert connected == []
