"""ffmpeg as a child process: where it lies, what it may use, how it is ended."""

import errno
import fcntl
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from logging import getLogger
from pathlib import Path
from typing import Any, BinaryIO

from ezstems.errors import DecodingFailed
from ezstems.network.cpu import lower_priority, use_batch_scheduling

logger = getLogger(__name__)

PIPE_BYTES = 1 << 20  # 3 s of float stereo: fewer wake-ups than with the kernel's 64 KiB
STDERR_BYTES = 2 << 10  # what is kept of a child's stderr: its end, where the reason is
DURATION = re.compile(rb"^  Duration: (\d+):(\d\d):(\d\d\.\d+)")
# Three hours of M4A, and the heaviest encoder, take a fifth of this; what a header promises may be absurd.
MEMORY_BYTES = 512 << 20
# At its processor time's end ffmpeg is asked to leave (SIGXCPU, every second anew), then killed.
PARTING_SECONDS = 10
# What it says then, and, in the middle of a file with the exit code 0, when its memory is used up.
EXHAUSTED = re.compile(rb"^(Exiting normally, received signal %d\.|\[in#.*: Cannot allocate memory$)" % signal.SIGXCPU)
NO_SOUND = re.compile(rb"^Stream map '.*' matches no streams\.$")
IMPATIENT_CODE = 123  # it was asked to leave more than three times
# Its exit code is the low byte of its error, and the system's errors are the errno, negative. No file brings these
# about, but for EIO, which a demuxer says of one that ends early. Not ENOMEM: the bound above is what it meets.
SYSTEM_ERRORS = {
    *(errno.ENOENT, errno.EACCES, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.EAGAIN, errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS),
}
NO_FFMPEG_CODES = (126, 127)  # setpriv could not start it
UNABLE = (
    "The server could not run its decoder on the file. Nothing is wrong with the file; upload it again later, or ask "
    "the server's operator, who finds the reason in the log."
)
OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@lru_cache(maxsize=1)
def executable() -> str:
    """Return the path of the ffmpeg that comes with imageio-ffmpeg; raise DecodingFailed where it can't be run now."""
    from imageio_ffmpeg import _utils

    try:
        return str(_utils.get_ffmpeg_exe())
    except RuntimeError as error:
        _utils._get_ffmpeg_exe.cache_clear()  # it would keep in mind for ever that there is none
        raise DecodingFailed(UNABLE) from error


def command(*arguments: str, loglevel: str = "error") -> list[str]:
    """Build an ffmpeg command line that asks nothing and uses one thread."""
    return [executable(), "-nostdin", "-hide_banner", "-nostats", "-v", loglevel, "-threads", "1", *arguments]


@lru_cache(maxsize=1)
def guard() -> tuple[str, ...]:
    """Return what starts a child so that it dies with its parent, by whatever the parent dies.

    Strictly with the parent's thread that started it, which therefore has to live as long.
    """
    setpriv = shutil.which("setpriv")  # util-linux, a part of every Linux that this package's wheels are made for
    if setpriv is None:
        return ()
    guarded = (setpriv, "--pdeathsig", "KILL", "--no-new-privs", "--")
    # An old one doesn't know these, a sandbox may forbid them: no upload is refused for that.
    tried = subprocess.run([*guarded, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if tried.returncode:
        logger.warning("ffmpeg may outlive this process, for setpriv doesn't work here: %s", ascii(tried.stderr))
        return ()
    return guarded


class Child:
    """Run ffmpeg within bounds, drain its stderr, and leave neither process nor thread behind."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        reads: bool = False,
        writes: bool = False,
        into: BinaryIO | None = None,
        cpu_seconds: int | None = None,
        awaited: bool = False,
    ) -> None:
        """Start `arguments`; `reads` gives it a pipe as stdin, `writes` one as stdout and no files, `into` a file.

        It leaves the processor to others, unless it is `awaited` by a request.
        """
        self.process = subprocess.Popen(
            [*guard(), *arguments],
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE if writes else into or subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C meant for the server must not end its children before it
        )
        self.duration_seconds: float | None = None
        self.found_no_sound = self._exhausted = False
        self._stderr = b""
        self._drain = threading.Thread(target=self._read_stderr, name="ffmpeg-stderr", daemon=True)
        try:
            self._drain.start()
        except RuntimeError as error:  # as many threads as there may be
            self.process.kill()
            self.process.wait()
            self._close()
            raise OSError(errno.EAGAIN, "no thread for what ffmpeg says") from error
        if not awaited:
            lower_priority(self.process.pid)
            use_batch_scheduling(self.process.pid)
        self._limit(resource.RLIMIT_CORE, 0)
        self._limit(resource.RLIMIT_DATA, MEMORY_BYTES)
        if writes:
            self._limit(resource.RLIMIT_FSIZE, 0)
        if cpu_seconds is not None:
            self._limit(resource.RLIMIT_CPU, cpu_seconds, PARTING_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux only
                with suppress(OSError):  # over the user's quota of pipe pages: the kernel's size will do
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def _limit(self, kind: int, soft: int, more: int = 0) -> None:
        """Bound the running process: in a child of a threaded program no Python may run before it does."""
        if sys.platform == "linux":
            try:
                hard = resource.prlimit(self.process.pid, kind)[1]
                ours = soft + more if hard == resource.RLIM_INFINITY else min(soft + more, hard)
                resource.prlimit(self.process.pid, kind, (min(soft, ours), ours))
            except ProcessLookupError:
                pass  # it has ended
            except OSError:
                logger.exception("ffmpeg runs without its limit number %s", kind)

    def _read_stderr(self) -> None:
        try:
            self._gather_stderr()
        except BaseException:  # unread, the child would wait for ever: killed, it fails its job as the server's fault
            logger.exception("what ffmpeg says can't be read; it is ended")
            self.process.kill()

    def _gather_stderr(self) -> None:
        assert self.process.stderr is not None
        with open(self.process.stderr.fileno(), "rb", closefd=False) as lines:
            while line := lines.readline(STDERR_BYTES):
                found = DURATION.match(line) if self.duration_seconds is None else None
                if found:
                    hours, minutes, seconds = found.groups()
                    self.duration_seconds = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
                self.found_no_sound |= NO_SOUND.match(line) is not None
                self._exhausted |= EXHAUSTED.match(line) is not None
                self._stderr = (self._stderr + line)[-STDERR_BYTES:]

    def read(self, count: int, seconds: float) -> bytes:
        """Read some bytes of its stdout, at most so many, none at the end.

        Raises:
            TimeoutError: none came within the time, or it is over.
        """
        assert self.process.stdout is not None
        descriptor, poll = self.process.stdout.fileno(), select.poll()
        poll.register(descriptor, select.POLLIN)
        if seconds <= 0 or not poll.poll(seconds * 1000):
            raise TimeoutError
        return os.read(descriptor, count)

    def stderr(self) -> str:
        """Return the end of what ffmpeg wrote to stderr, on one line; the file's tags may be in it."""
        return ascii(" / ".join(self._stderr.decode(errors="replace").split("\n")))

    @property
    def was_stopped(self) -> bool:
        """Tell whether somebody else's signal, not the file, made it end: it died of one, or took leave (255)."""
        code = self.process.returncode
        return code is not None and (-code in OUTSIDE_SIGNALS or (code == 255 and not self._exhausted))

    @property
    def gave_up(self) -> bool:
        """Tell whether the file was too much for it: for its time, its memory, or for itself, so that it crashed."""
        code = self.process.returncode
        if code is None or self.was_stopped:
            return False
        return self._exhausted or code < 0 or code == IMPATIENT_CODE

    def system_failed(self, path: Path) -> bool:
        """Tell whether the system made it end, not the file at a path."""
        code = self.process.returncode
        if code is None or code <= 0:
            return False
        if 256 - code == errno.EIO:
            return not _is_readable(path)
        return code in NO_FFMPEG_CODES or 256 - code in SYSTEM_ERRORS

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        code = self.process.wait()
        self._drain.join()
        self._close()
        return code

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def kill(self) -> None:
        """End the process now; harmless when it has ended."""
        self.process.kill()
        self.wait()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def decoder(arguments: Sequence[str], **bounds: Any) -> Child:
    """Start a child that reads a file; raise DecodingFailed where the system doesn't let it start."""
    try:
        return Child(arguments, writes=True, **bounds)
    except OSError as error:
        raise DecodingFailed(UNABLE) from error


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(PIPE_BYTES):
                pass
    except OSError:
        return False
    return True
