"""Protocol buffers' messages, read without their definitions; nothing that they say is trusted."""

from collections.abc import Iterator

VARINT_BYTES = 10  # of 64 bits
FIXED_BYTES = {1: 8, 5: 4}  # by wire type
VARINT, BYTES = 0, 2

Value = int | bytes


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the numbers and values of a message's fields, integers as such; raise ValueError where it is damaged."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = varint(message, at)
        elif wire in FIXED_BYTES:
            size = FIXED_BYTES[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(message):
            raise ValueError("a field leaves its message")
        yield number, message[at : at + size]
        at += size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it; raise ValueError where it is damaged."""
    value = 0
    for shift in range(0, 7 * VARINT_BYTES, 7):
        if at >= len(data):
            raise ValueError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is longer than 64 bits")


def number(found: dict[int, Value], field: int) -> int:
    """Return a field that must be a number, 0 where it is missing."""
    value = found.get(field, 0)
    if not isinstance(value, int):
        raise ValueError(f"field {field} is not a number")
    return value


def content(found: dict[int, Value], field: int) -> bytes:
    """Return a field that must not be a number, nothing where it is missing."""
    value = found.get(field, b"")
    if not isinstance(value, bytes):
        raise ValueError(f"field {field} is a number")
    return value
