"""ffmpeg as a child process: where it lies, what it may open, how it is ended."""

import fcntl
import re
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from logging import getLogger

logger = getLogger(__name__)

PIPE_BYTES = 1 << 20  # 3 s of float stereo: fewer wake-ups than with the kernel's 64 KiB
STDERR_BYTES = 8 << 10  # what is kept of a child's stderr: its end, where the reason is
DURATION = re.compile(rb"^  Duration: (\d+):(\d\d):(\d\d\.\d+)")


@lru_cache(maxsize=1)
def executable() -> str:
    """Return the path of the ffmpeg that comes with imageio-ffmpeg."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def command(*arguments: str, loglevel: str = "error") -> list[str]:
    """Build an ffmpeg command line that asks nothing and uses one thread."""
    return [executable(), "-nostdin", "-hide_banner", "-nostats", "-v", loglevel, "-threads", "1", *arguments]


class Child:
    """Run ffmpeg, drain its stderr, and leave neither process nor thread behind."""

    def __init__(self, arguments: Sequence[str], *, reads: bool = False, writes: bool = False) -> None:
        """Start `arguments`; `reads` gives it a pipe as stdin, `writes` one as stdout."""
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE if writes else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C meant for the server must not end its children before it
        )
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux only
                with suppress(OSError):  # over the user's quota of pipe pages: the kernel's size will do
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.duration_seconds: float | None = None
        self._stderr = b""
        self._drain = threading.Thread(target=self._read_stderr, name="ffmpeg-stderr", daemon=True)
        self._drain.start()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        with open(self.process.stderr.fileno(), "rb", closefd=False) as lines:
            while line := lines.readline(STDERR_BYTES):
                found = DURATION.match(line) if self.duration_seconds is None else None
                if found:
                    hours, minutes, seconds = found.groups()
                    self.duration_seconds = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
                self._stderr = (self._stderr + line)[-STDERR_BYTES:]

    def stderr(self) -> str:
        """Return the end of what ffmpeg wrote to stderr, on one line; the file's tags may be in it."""
        return ascii(" / ".join(self._stderr.decode(errors="replace").split("\n")))

    @property
    def was_stopped(self) -> bool:
        """Tell whether somebody else's signal, not the file, made it end: it died of one, or took leave (255)."""
        code = self.process.returncode
        return code is not None and (code < 0 or code == 255)

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        code = self.process.wait()
        self._drain.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def kill(self) -> None:
        """End the process now; harmless when it has ended."""
        self.process.kill()
        self.wait()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
