"""Ogg's pages, each with the checksum without which a change of it is merely passed over."""

from collections.abc import Iterator

from ezstems.audio.preview_ogg import _checksum

_CHECKSUM, _SEGMENTS, _HEAD_BYTES = 22, 26, 27


def pages(content: bytes) -> Iterator[bytes]:
    """Take a file apart into its pages, and what is none."""
    while content:
        end = len(content)
        if content.startswith(b"OggS") and len(content) > _HEAD_BYTES:
            lacing = content[_HEAD_BYTES : _HEAD_BYTES + content[_SEGMENTS]]
            end = _HEAD_BYTES + len(lacing) + sum(lacing)
        elif content.find(b"OggS", 1) > 0:
            end = content.find(b"OggS", 1)
        yield content[:end]
        content = content[end:]


def sealed(content: bytes) -> bytes:
    """Give each page the checksum of what it is now."""
    made = []
    for page in pages(content):
        if page.startswith(b"OggS") and len(page) > _HEAD_BYTES:
            bare = page[:_CHECKSUM] + bytes(4) + page[_CHECKSUM + 4 :]
            page = page[:_CHECKSUM] + _checksum(bare).to_bytes(4, "little") + page[_CHECKSUM + 4 :]
        made.append(page)
    return b"".join(made)
