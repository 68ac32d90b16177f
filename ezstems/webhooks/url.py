"""A webhook's URL as an account wrote it: taken apart once, by one parser, into what is connected to and asked for."""

import ipaddress
from dataclasses import dataclass

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from ezstems.errors import BadInput
from ezstems.webhooks.hosts import Address, AllowedHosts, is_number, is_public

MAX_CHARACTERS = 2000
MAX_NAME_CHARACTERS = 253
PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Destination:
    """Hold a URL's parts: the name or address, without brackets, and what to ask for there."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def address(self) -> Address | None:
        """Return the host as an address, None where it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def host_header(self) -> str:
        """Return what the header Host says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def place(self) -> str:
        """Name where it leads, without what may be secret in it, for logs."""
        return f"{self.scheme}://{self.host_header}"


def checked_url(raw: str, allowed: AllowedHosts) -> str:
    """Return a URL that webhooks may be sent to, as far as that shows without asking for its name; raise BadInput."""
    destination = parsed(raw)
    address = destination.address
    if address is not None:
        is_allowed = allowed.has_address(address)
        if not is_allowed and not is_public(address):
            raise _refused(raw, "must lead to a public address")
    else:
        is_allowed = allowed.has_name(destination.host)
        if not is_allowed and destination.host.rpartition(".")[2] == "localhost":
            raise _refused(raw, "must lead to a public address")
    if destination.scheme != "https" and not is_allowed:
        raise _refused(raw, "must begin with https://")
    return raw


def parsed(raw: str) -> Destination:
    """Take a URL apart; raise BadInput where anything is in it that two programs might read in two ways."""
    if len(raw) > MAX_CHARACTERS:
        raise _refused(raw, f"must have at most {MAX_CHARACTERS} characters")
    if not raw.isprintable() or " " in raw or "\\" in raw or "#" in raw:
        raise _refused(raw, "must not hold spaces, backslashes, #, or what can't be printed")
    try:
        url = parse_url(raw)
    except (LocationParseError, UnicodeError):
        raise _refused(raw, "must be a URL, like https://example.com/hook") from None
    if url.scheme not in PORTS or not url.host:
        raise _refused(raw, "must begin with https:// and name a host")
    if url.auth is not None or "@" in raw.partition("//")[2].partition("/")[0]:
        raise _refused(raw, "must hold no name or password")
    port = PORTS[url.scheme] if url.port is None else url.port
    if not 1 <= port <= 65535:
        raise _refused(raw, "must have a port from 1 to 65535")
    host = _host(url.host, raw)
    return Destination(url.scheme, host, port, url.request_uri)


def _host(written: str, raw: str) -> str:
    if written.startswith("["):
        try:
            address = ipaddress.IPv6Address(written.strip("[]"))
        except ValueError:
            raise _refused(raw, "must hold a valid IPv6 address") from None
        if address.scope_id:
            raise _refused(raw, "must hold an IPv6 address without a zone")
        return str(address)
    host = written.lower().removesuffix(".")
    if is_number(host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _refused(raw, "must hold an IPv4 address as four numbers, like 192.0.2.1") from None
    labels = host.split(".")
    if len(host) > MAX_NAME_CHARACTERS or not all(1 <= len(label) <= 63 for label in labels):
        raise _refused(raw, "must name a host")
    if not all(label.isascii() and label.replace("-", "").replace("_", "").isalnum() for label in labels):
        raise _refused(raw, "must name a host")
    return host


def _refused(raw: str, rule: str) -> BadInput:
    return BadInput(f"webhook_url={raw[:64]!r} {rule}.")
