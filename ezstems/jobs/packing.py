"""Pack stems into a ZIP, and bring it to the disk while the rest is copied."""

import os
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ezstems.files import sync_bytes

COPY_BYTES = 256 << 10  # zipfile's own blocks of 8 KiB take twice the time
SYNC_BYTES = 8 << 20


def pack(path: Path, stems: Iterable[Path], comment: str, progress: Callable[[], None]) -> int:
    """Move stems into a ZIP at a path, durably; return its size in bytes.

    Calls `progress` for each block. Encoded audio doesn't deflate, so it is stored as it is: `ZipEntry` relies on that.
    """
    # The disk takes what is in while the rest is copied: one sync at the end would take half as long again.
    with path.open("wb") as handle, ThreadPoolExecutor(1, thread_name_prefix="sync") as disk:
        syncs: list[Future[None]] = []
        with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
            archive.comment = comment.encode()
            for stem in stems:
                # A ZIP's dates are of 1980 to 2107, whatever the clock says.
                entry = zipfile.ZipInfo.from_file(stem, stem.name, strict_timestamps=False)
                with stem.open("rb") as source, archive.open(entry, "w") as target:
                    while block := source.read(COPY_BYTES):
                        target.write(block)
                        progress()
                        if source.tell() % SYNC_BYTES == 0:
                            syncs.append(disk.submit(sync_bytes, handle.fileno()))
                # Each stem goes as soon as it is in: the disk holds little more than one copy of the result.
                stem.unlink()
        handle.flush()
        for pending in syncs:
            pending.result()  # the system reports an error once, to the first who syncs
            progress()
        os.fsync(handle.fileno())
        return handle.tell()
