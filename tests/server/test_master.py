"""What the master says of settings, and of a machine, that it can't start with."""

import errno
import os
from pathlib import Path

import pytest

from ezstems.errors import ConfigurationError
from ezstems.server import master


@pytest.mark.parametrize("filename", [None, "/models/2stems"])
def test_what_the_system_refuses_is_said_with_a_place(
    tmp_path: Path, filename: str | None
) -> None:
    def refuse() -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), filename)

    with pytest.raises(ConfigurationError) as refused:
        master.checked(tmp_path, refuse)  # as a fork does, without a name, where there are no processes
    assert str(refused.value) == f"{filename or tmp_path}: Resource temporarily unavailable"
