"""Run `ezstems` on Linux as on a Mac: without what only Linux has, in this process and those that it forks.

    python -m tests.support.macos serve
    python -m tests.support.macos --import

What Apple has and Linux lacks (kqueue, its way to fork) stays untried.
"""

import ctypes
import fcntl
import importlib
import os
import pkgutil
import resource
import select
import selectors
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

# Imported before anything is taken away: these are to be the program's surroundings, not what is tried.
import flask_cors  # noqa: F401
import flask_login  # noqa: F401
import flask_migrate  # noqa: F401
import flask_wtf  # noqa: F401
import gunicorn.workers.gthread  # noqa: F401
import imageio_ffmpeg
import numpy  # noqa: F401
import openvino  # noqa: F401
import pandas  # noqa: F401
import prometheus_client  # noqa: F401
import requests  # noqa: F401
import rich.progress  # noqa: F401
import scipy.fft  # noqa: F401

# What of a module macOS lacks; the names are those of Python's own documentation.
LINUX_ONLY = {
    os: (
        *("copy_file_range", "eventfd", "fdatasync", "getrandom", "getresgid", "getresuid", "getxattr", "listxattr"),
        *("memfd_create", "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "preadv2", "pwritev2"),
        *("sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "sched_setscheduler", "sched_param"),
        *("SCHED_BATCH", "SCHED_IDLE", "setns", "setresgid", "setresuid", "setxattr", "splice", "unshare"),
        *("O_DIRECT", "O_PATH", "O_NOATIME", "waitid"),
    ),
    fcntl: ("F_ADD_SEALS", "F_GETPIPE_SZ", "F_SETPIPE_SZ", "F_OFD_SETLK", "F_NOTIFY"),
    resource: ("prlimit", "RLIMIT_OFILE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_MSGQUEUE", "RLIMIT_SIGPENDING"),
    select: ("epoll", "EPOLLIN", "EPOLLOUT", "POLLRDHUP"),
    signal: ("SIGPOLL", "SIGPWR", "SIGRTMAX", "SIGRTMIN", "SIGSTKFLT", "sigtimedwait", "sigwaitinfo"),
    socket: ("AF_NETLINK", "MSG_MORE", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_BINDTODEVICE", "TCP_DEFER_ACCEPT",
             "TCP_KEEPIDLE", "TCP_QUICKACK", "TCP_USER_TIMEOUT"),
    time: ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_COARSE", "clock_settime"),
}  # fmt: skip
# Of the C library: what ctypes finds no symbol for.
NO_SYMBOLS = {"capget", "capset", "mallopt", "malloc_trim", "prctl", "renameat2", "sched_setscheduler"}
NO_FOLDERS = ("/proc", "/sys")
# To train the bundled model takes packages that a server doesn't.
TRAINING = "ezstems.builtin"


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Let nothing be found in Linux's own folders, nor its calls in the C library."""
    if event in ("open", "os.listdir", "os.scandir"):
        if str(arguments[0]).startswith(NO_FOLDERS):
            raise FileNotFoundError(2, "No such file or directory", arguments[0])
    elif event == "ctypes.dlsym" and arguments[1] in NO_SYMBOLS:
        raise AttributeError(arguments[1])


def become_one() -> None:
    """Take away what a Mac lacks."""
    imageio_ffmpeg.get_ffmpeg_exe()  # it keeps the path; for a Mac it would look for another file
    for module, names in LINUX_ONLY.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    selectors.DefaultSelector = selectors.PollSelector
    tempfile._O_TMPFILE_WORKS = False
    os.environ["PATH"] = "/nowhere"  # no setpriv
    sys.platform = "darwin"
    sys.addaudithook(refuse)


def import_all() -> None:
    """Import every module that a server may need; print what is missed here, and how many modules there are."""
    import ezstems

    for use in (lambda: os.fdatasync(1), Path("/proc/cpuinfo").read_text, lambda: ctypes.CDLL(None).prctl):
        try:
            use()
        except (AttributeError, FileNotFoundError) as error:
            print(error)
    found = [each.name for each in pkgutil.walk_packages(ezstems.__path__, "ezstems.", onerror=raise_again)]
    names = [name for name in found if not name.startswith(f"{TRAINING}.") and not name.endswith("__main__")]
    for name in names:
        importlib.import_module(name)
    print(len(names))


def raise_again(_name: str) -> None:
    raise


def main() -> None:
    become_one()
    if sys.argv[1:] == ["--import"]:
        import_all()
        return
    from ezstems.cli import main as ezstems

    ezstems()


if __name__ == "__main__":
    main()
