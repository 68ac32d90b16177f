"""The boxes of an M4A file, to be taken apart, changed and put together again, wrongly on purpose."""

from collections.abc import Iterator
from dataclasses import dataclass, field

PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"moof", b"traf", b"mvex", b"root"}


@dataclass
class Box:
    """Hold one box: its payload, or the boxes in it; how often, how deep, and with what size it is written."""

    name: bytes
    payload: bytes = b""
    boxes: list["Box"] = field(default_factory=list)
    size: int | None = None
    times: int = 1
    depth: int = 0

    def walk(self) -> Iterator["Box"]:
        """Yield this box and all in it."""
        yield self
        for box in self.boxes:
            yield from box.walk()

    def find(self, name: bytes) -> "Box":
        """Return the first box of a name."""
        return next(box for box in self.walk() if box.name == name)

    def inside(self) -> bytes:
        """Return what stands behind the header."""
        return self.payload + b"".join(box.content() for box in self.boxes)

    def content(self) -> bytes:
        """Return the bytes of the box; of the root, those of the file."""
        inside = self.inside()
        if self.name == b"root":
            return inside
        whole = _wrap(self.name, inside, self.size)
        for _ in range(self.depth):
            whole = _wrap(b"moov", whole)
        return whole * self.times


def _wrap(name: bytes, inside: bytes, size: int | None = None) -> bytes:
    return (8 + len(inside) if size is None else size).to_bytes(4, "big") + name + inside


def box(name: bytes, *parts: bytes) -> bytes:
    """Build a plain box."""
    return _wrap(name, b"".join(parts))


def parse(content: bytes) -> Box:
    """Take an honest file apart."""
    return _parse(b"root", content)


def _parse(name: bytes, content: bytes) -> Box:
    if name not in PARENTS:
        return Box(name, content)
    parent, at = Box(name), 0
    while at + 8 <= len(content):
        size = max(8, int.from_bytes(content[at : at + 4], "big"))
        parent.boxes.append(_parse(content[at + 4 : at + 8], content[at + 8 : at + size]))
        at += size
    return parent
