"""glibc's allocator, told to keep little: this process's big arrays come and go from many threads."""

import ctypes
import gc
import sys

# malloc.h's names and numbers. One arena for all threads, where glibc has one for each, keeps 150 MB less with 5 stems;
# what is freed there stays for the next tile: to give it back and fault it in again takes a twentieth of the time.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
TRIM_THRESHOLD_BYTES = 1 << 30
MMAP_THRESHOLD_BYTES = 32 << 20  # the most that glibc takes


def tune_allocator() -> None:
    """Let all threads share one arena and keep what they free until `return_freed_memory`."""
    if mallopt := _glibc("mallopt"):
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)


def return_freed_memory() -> None:
    """Return freed memory to the system."""
    gc.collect()
    if malloc_trim := _glibc("malloc_trim"):
        malloc_trim(0)


def _glibc(name: str) -> "ctypes._NamedFuncPointer | None":
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None  # musl has neither
