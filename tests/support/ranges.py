"""Ranges that a download must honour."""


def honoured(size: int) -> dict[str, tuple[int, int]]:
    """Return what a client may ask of so many bytes, with the first byte of each answer and the one behind its last."""
    return {
        "bytes=0-99": (0, 100),
        "bytes=0-": (0, size),
        "bytes=100-": (100, size),
        "bytes=-50": (size - 50, size),
        f"bytes=-{size}": (0, size),
        f"bytes=7-{size * 9}": (7, size),
        f"bytes={size - 1}-": (size - 1, size),
        "Bytes=1-1": (1, 2),
    }
