"""Which user makes files: those of an instance are its owner's and private, others the caller's own.

In another user's folder, root works as that user, who may only read more: so what it makes there is that user's, and no
link of that user's makes root overwrite, or give away, anything else.
"""

import ctypes
import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

PRIVATE = 0o077  # the umask of whatever holds people's songs, or secrets
READ_ANYTHING = 2  # capabilities(7): CAP_DAC_READ_SEARCH; the program itself may lie where only root can read
CAPABILITY_VERSION = 0x20080522  # capget(2)
PR_CAP_AMBIENT, RAISE, CLEAR_ALL = 47, 2, 4  # prctl(2)


@dataclass(frozen=True)
class Credentials:
    """Hold a user, a group, further groups, and a umask."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int


_caller: Credentials | None = None  # who called, while files are made `as_owner_of`


def owner_to_become(folder: Path) -> tuple[int, int] | None:
    """Return the user and group that root must become for a folder, or the nearest existing parent; None for none."""
    if not _is_roots():
        return None
    there = next(path for path in (folder, *folder.parents) if path.exists()).stat()
    return (there.st_uid, there.st_gid) if there.st_uid != 0 else None


def _is_roots() -> bool:
    """Tell whether root started this process, whomever it works as."""
    if sys.platform == "darwin":
        return os.getuid() == 0
    return os.getresuid()[2] == 0


def can_become(uid: int, gid: int, *, reading: bool = False) -> bool:
    """Tell whether root can become a user here who can read this program; `reading` lets the user read anything."""
    pid = os.fork()
    if not pid:
        try:
            _become(_credentials_of(uid, gid), reading=reading)
            Path(__file__).read_bytes()
            Path(sys.executable).open("rb").close()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


@contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """Make files as the owner of a folder, readable by nobody else."""
    global _caller
    whose, before = owner_to_become(folder), _current()
    borrowed = whose is not None and can_become(*whose, reading=True)
    _caller = before
    try:
        with _acting_as(_credentials_of(*whose) if whose and borrowed else replace(before, umask=PRIVATE)):
            yield
    finally:
        _caller = None


@contextmanager
def as_caller() -> Iterator[None]:
    """Make files as the caller of the command, within `as_owner_of`."""
    with _acting_as(_caller or _current()):
        yield


@contextmanager
def _acting_as(credentials: Credentials) -> Iterator[None]:
    before = _current()
    _become(credentials)
    try:
        yield
    finally:
        _become(before)


def _current() -> Credentials:
    umask = os.umask(PRIVATE)
    os.umask(umask)
    return Credentials(os.geteuid(), os.getegid(), tuple(os.getgroups()), umask)


def _credentials_of(uid: int, gid: int) -> Credentials:
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:  # a user of another machine, or of a container
        groups = [gid]
    return Credentials(uid, gid, tuple(groups), PRIVATE)


def _become(credentials: Credentials, *, reading: bool = True) -> None:
    os.umask(credentials.umask)
    if (credentials.uid, credentials.gid) == (os.geteuid(), os.getegid()):
        return
    # So that there is a way back, the saved ids stay root's; macOS can't set them alone: there the real ones stay, too.
    if sys.platform == "darwin":
        os.seteuid(0)
        os.setgroups(credentials.groups[: os.sysconf("SC_NGROUPS_MAX")])
        os.setegid(credentials.gid)
        os.seteuid(credentials.uid)
    else:
        os.setresuid(-1, 0, 0)
        os.setgroups(credentials.groups)
        os.setresgid(credentials.gid, credentials.gid, 0)
        os.setresuid(credentials.uid, credentials.uid, 0)
    if reading and sys.platform == "linux":
        _let_read_anything(credentials.uid != 0)


def _let_read_anything(allowed: bool) -> None:
    """Let this process and its children read anything, as root may, where the system allows it; or no longer."""
    library = ctypes.CDLL(None)
    if not allowed:
        library.prctl(PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
        return
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; those of numbers from 32 on
    library.capget(header, sets)
    sets[0] |= sets[1] & 1 << READ_ANYTHING
    sets[2] |= sets[1] & 1 << READ_ANYTHING
    library.capset(header, sets)
    library.prctl(PR_CAP_AMBIENT, RAISE, READ_ANYTHING, 0, 0)
