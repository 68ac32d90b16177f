"""glibc's allocator, told to keep little: this process's big arrays come and go from many threads."""

import ctypes
import gc
import sys

M_ARENA_MAX = -8  # malloc.h
ARENAS = 2  # one a thread, glibc's way, keeps 150 MB more with 5 stems, and is no faster


def limit_arenas() -> None:
    """Let threads share arenas; before they have their own."""
    if mallopt := _glibc("mallopt"):
        mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return freed memory to the system."""
    gc.collect()
    if malloc_trim := _glibc("malloc_trim"):
        malloc_trim(0)


def _glibc(name: str) -> "ctypes._NamedFuncPointer | None":
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None  # musl has neither
