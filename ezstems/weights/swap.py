"""Put a new folder in an old one's place, so that one of them is there, whole, at whatever moment the process ends.

    <parent>/<name>        the folder
    <parent>/.<name>.new   what is to come into its place
    <parent>/.<name>.old   what was there, for a moment, where the file system can't exchange two names at once
"""

import ctypes
import errno
import os
import shutil
from pathlib import Path

from ezstems.files import sync

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of renameat2(2)
NOT_HERE = errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP


def fresh(folder: Path) -> Path:
    """Return where the folder that is to come is made."""
    return folder.with_name(f".{folder.name}.new")


def put(folder: Path) -> None:
    """Give the new folder its name, durably; what was there goes."""
    new, old = fresh(folder), _old(folder)
    remove(old)
    if not os.path.lexists(folder):
        new.rename(folder)
    elif not exchange(new, folder):
        folder.rename(old)
        new.rename(folder)
    sync(folder.parent)
    remove(new)
    remove(old)


def recover(folder: Path) -> None:
    """Give the old folder its name back where a process was killed before the new one had it; call it under a lock."""
    if not os.path.lexists(folder) and os.path.lexists(_old(folder)):
        _old(folder).rename(folder)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once; False where the system or the file system can't."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def remove(path: Path) -> None:
    """Delete a folder, or the file or link in its place; harmless where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
