"""Memory for what is needed only until it has been copied elsewhere, by somebody who would keep it."""

import mmap
import os
import sys
from pathlib import Path

import numpy as np

PAGEMAP = Path("/proc/self/pagemap")  # 64 bits a page, see proc(5)
PRESENT = np.uint64(1 << 63)


class Pages:
    """Hold arrays in pages of their own, to be given back to the system while the arrays are still referred to."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._held: list[tuple[mmap.mmap, np.ndarray]] = []

    def copy(self, values: np.ndarray) -> np.ndarray:
        """Return a copy of an array, in its order and contiguous."""
        pages = mmap.mmap(-1, values.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        copy = np.frombuffer(pages, values.dtype).reshape(values.shape)
        copy[...] = values
        self._held.append((pages, copy))
        return copy

    def release(self) -> bool:
        """Give all pages back, where it can be told whether somebody reads them later: they would be zeros."""
        if sys.platform != "linux" or not os.access(PAGEMAP, os.R_OK):
            return False
        for pages, _ in self._held:
            pages.madvise(mmap.MADV_DONTNEED)
        return True

    def were_read(self) -> bool:
        """Tell whether any page was read since."""
        with PAGEMAP.open("rb", buffering=0) as file:
            for pages, copy in self._held:
                file.seek(copy.ctypes.data // mmap.PAGESIZE * 8)
                entries = np.frombuffer(file.read(-(-len(pages) // mmap.PAGESIZE) * 8), np.uint64)
                if (entries & PRESENT).any():
                    return True
        return False
