"""An upload's multipart form, read from the disk as it is sent: memory doesn't grow with the file."""

import os
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO

from urllib3.fields import RequestField
from urllib3.filepost import choose_boundary, encode_multipart_formdata

from ezstems.errors import RemoteFailed

BLOCK_BYTES = 64 * 1024


class Form:
    """Be a body for requests: fields, then one file, as long as it was when it was opened."""

    def __init__(
        self, fields: Mapping[str, str], path: Path, file: IO[bytes], sent: Callable[[int, int], None]
    ) -> None:
        boundary = choose_boundary()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        before, _ = encode_multipart_formdata(fields, boundary)
        field = RequestField("file", b"", filename=shown_name(path))
        field.make_multipart()  # no type of the file: the original's own programs send none
        end = f"--{boundary}--\r\n".encode()
        head = before.removesuffix(end) + f"--{boundary}\r\n".encode() + field.render_headers().encode()
        self._path, self._sent = path, sent
        self._size_bytes = self._left_bytes = os.fstat(file.fileno()).st_size
        self._parts: list[IO[bytes]] = [BytesIO(head), file, BytesIO(b"\r\n" + end)]
        self._file = file
        self._length_bytes = len(head) + self._size_bytes + 2 + len(end)

    def __len__(self) -> int:
        return self._length_bytes

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(BLOCK_BYTES), b"")

    @property
    def is_sent(self) -> bool:
        """Tell whether all of it was read."""
        return not self._parts

    def read(self, size: int) -> bytes:
        """Return the next bytes, none at the end."""
        while self._parts:
            part = self._parts[0]
            if part is self._file:
                block = part.read(min(size, self._left_bytes))
                if not block and self._left_bytes:
                    raise RemoteFailed(f"{self._path.name} became shorter while it was sent")
                self._left_bytes -= len(block)
                self._sent(self._size_bytes - self._left_bytes, self._size_bytes)
            else:
                block = part.read(size)
            if block:
                return block
            self._parts.pop(0)
        return b""


def shown_name(path: Path) -> str:
    """Return a file's name as text that can be sent, whatever its bytes are."""
    return os.fsencode(path.name).decode("utf-8", "replace")
