"""To which hosts webhooks may go: public addresses, and those that the operator allows besides."""

import ipaddress
import re
from collections.abc import Iterable

from ezstems.errors import ConfigurationError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SETTING = "EZSTEMS_WEBHOOK_HOSTS"
_NAME = re.compile(r"\.?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# Where IPv6 addresses that anybody may reach lie. All others, as ::1, ::ffff:10.0.0.1, fc00::, fe80::, are left out.
_GLOBAL = ipaddress.IPv6Network("2000::/3")
# Within: IETF protocols with Teredo, 6to4, documentation. The two tunnels hold an IPv4 address that may be any.
_SPECIAL = [ipaddress.IPv6Network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
# Where a network has no IPv4, it comes by this to the public part of it, which the last 32 bits name.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Anycast of 6to4's relays.
_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")


class AllowedHosts:
    """Hold what the operator allows besides public addresses."""

    def __init__(self, items: Iterable[str]) -> None:
        """Take names, `.name` for all below it, addresses and networks; raise ConfigurationError for anything else."""
        self._names: set[str] = set()
        self._networks: list[Network] = []
        for item in map(str.lower, items):
            try:
                self._networks.append(ipaddress.ip_network(item.strip("[]"), strict=False))
            except ValueError:
                if not _NAME.fullmatch(item) or is_number(item):
                    raise ConfigurationError(
                        f"{SETTING}={item!r} must be names like box.lan, or .lan with all below it, addresses, and "
                        "networks like 10.0.0.0/8, without ports"
                    ) from None
                self._names.add(item)

    def has_name(self, host: str) -> bool:
        """Tell whether a host is allowed by its name, wherever that leads."""
        above = [host[dot:] for dot, character in enumerate(host) if character == "."]
        return not self._names.isdisjoint([host, *above])

    def has_address(self, address: Address) -> bool:
        """Tell whether an address is allowed."""
        return any(address in network for network in self._networks)


def is_public(address: Address) -> bool:
    """Tell whether anybody on the internet may have an address, so that nothing private can be reached by it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and address not in _RELAYS
    if address.scope_id:
        return False
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address.is_global and address in _GLOBAL and not any(address in each for each in _SPECIAL)


def is_number(host: str) -> bool:
    """Tell whether a host is an IPv4 address to some programs, however it is written: its last label is a number."""
    last = host.removesuffix(".").rpartition(".")[2]
    return last.isdecimal() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
