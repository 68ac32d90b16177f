"""Read a file with libsndfile, where the machine has it: what many audio programs read with."""

import ctypes
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest

READ_MODE = 0x10


class Info(ctypes.Structure):
    """Mirror its SF_INFO."""

    _fields_ = (
        ("frames", ctypes.c_int64),
        *((name, ctypes.c_int) for name in ("rate_hz", "channels", "format", "sections", "seekable")),
    )


def read_floats(path: Path) -> np.ndarray:
    """Decode a file: float32 (n, channels) at 44,100 Hz; skip the test where there is no libsndfile."""
    name = find_library("sndfile")
    if name is None:
        pytest.skip("libsndfile is not installed")
    library, info = ctypes.CDLL(name), Info()
    library.sf_open.restype = ctypes.c_void_p
    library.sf_readf_float.restype = ctypes.c_int64
    library.sf_readf_float.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    library.sf_close.argtypes = (ctypes.c_void_p,)
    handle = library.sf_open(str(path).encode(), READ_MODE, ctypes.byref(info))
    assert handle, f"libsndfile doesn't know {path.name}"
    try:
        audio = np.empty((info.frames, info.channels), np.float32)
        assert info.rate_hz == 44_100
        assert library.sf_readf_float(handle, audio.ctypes.data, info.frames) == info.frames
    finally:
        library.sf_close(handle)
    return audio
