"""As whom, and how open, files are made: those of an instance are its owner's and private, others the caller's own.

Root works in another user's folder as that user, and may only read more: so whatever it makes there is that user's, and
no link of that user's makes it write to, or give away, anything else.
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
class Identity:
    """Name a user, a group, further groups, and the modes that files are made without."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int


_caller: Identity | None = None  # who called, while files are made `inside`


def owner(folder: Path) -> tuple[int, int] | None:
    """Return the user and group of a folder, or of the nearest one above that is there; None unless root is to obey."""
    if not _is_roots():
        return None
    there = next(path for path in (folder, *folder.parents) if path.exists()).stat()
    return (there.st_uid, there.st_gid) if there.st_uid != 0 else None


def _is_roots() -> bool:
    """Tell whether root started this process, whomever it works as."""
    if sys.platform == "darwin":
        return os.getuid() == 0
    return os.getresuid()[2] == 0


def may_run(uid: int, gid: int, *, reading: bool = False) -> bool:
    """Tell whether root may become a user here, who may read this program, if need be by reading more than others."""
    pid = os.fork()
    if not pid:
        try:
            _become(_identity(uid, gid), reading=reading)
            Path(__file__).read_bytes()
            Path(sys.executable).open("rb").close()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Make files as the owner of a folder, for nobody else to read."""
    global _caller
    whose, before = owner(folder), _present()
    borrowed = whose is not None and may_run(*whose, reading=True)
    _caller = before
    try:
        with _acting_as(_identity(*whose) if whose and borrowed else replace(before, umask=PRIVATE)):
            yield
    finally:
        _caller = None


@contextmanager
def outside() -> Iterator[None]:
    """Make files as who called, in the middle of what is done `inside`."""
    with _acting_as(_caller or _present()):
        yield


@contextmanager
def _acting_as(identity: Identity) -> Iterator[None]:
    before = _present()
    _become(identity)
    try:
        yield
    finally:
        _become(before)


def _present() -> Identity:
    umask = os.umask(PRIVATE)
    os.umask(umask)
    return Identity(os.geteuid(), os.getegid(), tuple(os.getgroups()), umask)


def _identity(uid: int, gid: int) -> Identity:
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:  # a user of another machine, or of a container
        groups = [gid]
    return Identity(uid, gid, tuple(groups), PRIVATE)


def _become(identity: Identity, *, reading: bool = True) -> None:
    os.umask(identity.umask)
    if (identity.uid, identity.gid) == (os.geteuid(), os.getegid()):
        return
    # So that there is a way back, the saved ids stay root's; macOS can't set them alone: there the real ones stay, too.
    if sys.platform == "darwin":
        os.seteuid(0)
        os.setgroups(identity.groups[: os.sysconf("SC_NGROUPS_MAX")])
        os.setegid(identity.gid)
        os.seteuid(identity.uid)
    else:
        os.setresuid(-1, 0, 0)
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, 0)
        os.setresuid(identity.uid, identity.uid, 0)
    if reading and sys.platform == "linux":
        _keep_reading(identity.uid != 0)


def _keep_reading(more: bool) -> None:
    """Read, and let children read, what root may; where that isn't allowed here, what the user may."""
    library = ctypes.CDLL(None)
    if not more:
        library.prctl(PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
        return
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; those of numbers from 32 on
    library.capget(header, sets)
    sets[0] |= sets[1] & 1 << READ_ANYTHING
    sets[2] |= sets[1] & 1 << READ_ANYTHING
    library.capset(header, sets)
    library.prctl(PR_CAP_AMBIENT, RAISE, READ_ANYTHING, 0, 0)
