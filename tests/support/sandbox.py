"""What a systemd unit forbids, where systemd itself can't run, as in a container: its filter of system calls, put up by
the kernel as systemd would have it, and no capability, nor a way to one.
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

LIBRARY = "libseccomp.so.2"
ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM  # seccomp.h's SCMP_ACT_ALLOW and SCMP_ACT_ERRNO


def available() -> bool:
    """Tell whether this machine has what it takes."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return shutil.which("systemd-analyze") is not None and shutil.which("setpriv") is not None


def values(unit: Path, name: str) -> list[str]:
    """Return a setting's values in their order."""
    lines = (line.partition("=") for line in unit.read_text().splitlines())
    return [value for key, _, value in lines if key == name]


def allowed(unit: Path) -> set[str]:
    """Return the names of the system calls that a unit's SystemCallFilter lets through."""
    found = _expanded("@default")
    for line in values(unit, "SystemCallFilter"):
        calls = {call for name in line.lstrip("~").split() for call in _expanded(name)}
        found = found - calls if line.startswith("~") else found | calls
    return found


def _expanded(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    asked = ["systemd-analyze", "syscall-filter", name]
    printed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    inside = {line.strip() for line in printed.splitlines() if line.startswith(" ") and "#" not in line}
    return {call for one in inside - {name} for call in _expanded(one)}


def _filter(calls: set[str]) -> None:
    """Let this process, and all that come from it, make these system calls alone."""
    library = ctypes.CDLL(LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(DENY))
    for call in sorted(calls):
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # others are of other processors
            assert library.seccomp_rule_add_array(context, ALLOW, number, 0, None) == 0, call
    assert library.seccomp_load(context) == 0


def command(unit: Path, *arguments: str) -> list[str]:
    """Return the command that runs another one so."""
    bounded = ["--bounding-set=-all"] if os.geteuid() == 0 else []  # who isn't root has no capabilities to lose
    return ["setpriv", "--no-new-privs", "--inh-caps=-all", *bounded, sys.executable, __file__, str(unit), *arguments]


if __name__ == "__main__":
    _filter(allowed(Path(sys.argv[1])))
    os.execvp(sys.argv[2], sys.argv[2:])
