"""What a setting may be: each parser turns a raw value into the typed one, or raises ValueError naming the rule."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, exc, make_url


def integer(minimum: int, maximum: int) -> Callable[[Any], int]:
    """Make a parser of whole numbers within bounds."""
    return _within(int, f"a whole number from {minimum} to {maximum}", minimum, maximum)


def number(minimum: float, maximum: float) -> Callable[[Any], float]:
    """Make a parser of numbers within bounds."""
    return _within(float, f"a number from {minimum:g} to {maximum:g}", minimum, maximum)


def _within(kind: Callable[[str], Any], rule: str, minimum: float, maximum: float) -> Callable[[Any], Any]:
    def parse(raw: Any) -> Any:
        try:
            value = kind(str(raw).strip())
        except ValueError:
            value = float("nan")
        if not minimum <= value <= maximum:
            raise ValueError(f"must be {rule}")
        return value

    return parse


def choice(*allowed: str) -> Callable[[Any], str]:
    """Make a parser of one word out of a list, in any case."""
    spelled = {word.lower(): word for word in allowed}

    def parse(raw: Any) -> str:
        if (word := str(raw).strip().lower()) not in spelled:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return spelled[word]

    return parse


def text(raw: Any) -> str:
    """Take any text that isn't blank."""
    if not (value := str(raw).strip()):
        raise ValueError("must not be empty")
    return value


def words(raw: Any) -> tuple[str, ...]:
    """Take a list, or text with commas or spaces between the items."""
    return tuple(map(str, raw if isinstance(raw, list | tuple) else str(raw).replace(",", " ").split()))


def address(raw: Any) -> str:
    """Take `host:port` or `unix:` and a path."""
    value = text(raw)
    _, _, port = value.rpartition(":")
    if not value.startswith("unix:") and not (":" in value and port.isdecimal() and int(port) < 65_536):
        raise ValueError("must be HOST:PORT with a port up to 65535, or unix:PATH")
    return value


def database(raw: Any) -> URL:
    """Take an SQLAlchemy URL whose driver is installed."""
    try:
        url = make_url(text(raw))
        url.get_dialect().import_dbapi()
    except (exc.ArgumentError, ImportError):
        raise ValueError("must be an SQLAlchemy URL of a database whose driver is installed") from None
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("must name a file: what is in memory each process has for itself")
    return url


def hide_secrets(url: str) -> str:
    """Return a URL, or what was meant to be one, without what may be a password or a key in it."""
    url = re.sub(r"^(\s*[A-Za-z0-9+.-]*://)?.*@", r"\1**@", url, flags=re.DOTALL)
    place, mark, query = url.partition("?")
    return place + mark + re.sub(r"=[^&]*", "=**", query, flags=re.DOTALL)


def origins(raw: Any) -> tuple[str, ...]:
    """Take a list of origins: scheme and host, no path."""
    found = words(raw)
    for origin in found:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
            raise ValueError("must be origins like https://example.com, or *")
    return found


def hosts(raw: Any) -> tuple[str, ...]:
    """Take a list of host names and addresses, without ports."""
    found = tuple(host.lower() for host in words(raw))
    for host in found:
        if not re.fullmatch(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", host):
            raise ValueError("must be names like stems.example.com, or .example.com with all below it, without ports")
    return found


def path(raw: Any) -> Path:
    """Take a folder's path; `~` is the user's home."""
    return Path(text(raw)).expanduser().resolve()
