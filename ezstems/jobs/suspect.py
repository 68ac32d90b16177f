"""Separate a suspect, a job whose process died while it ran, in a child process: it can crash nothing else."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from ezstems.audio.isolated import DONE, FAILED, LOGGED, NOT_FOR_US, PROGRESS, READY
from ezstems.audio.separate import Separation
from ezstems.errors import Interrupted, SeparatorCrashed
from ezstems.jobs.events import log_as
from ezstems.models import CRASHED

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.25
# Whoever kills all processes may kill the child first: wait so long for the parent's end before the job is blamed.
BLAME_AFTER_SECONDS = 1.5
OUTPUT_BYTES = 64 << 10
SEARCH_FOLDER = Path(__file__).resolve().parents[2]  # which holds the package


class ChildTraceback(Exception):
    """Hold the traceback of an error in a child process, for the log."""

    def __str__(self) -> str:
        return f"in its own process:\n{self.args[0]}"


class IsolatedSeparator:
    """Separate in a child process, one at a time: two might die for want of memory."""

    def __init__(self, separate: Callable[..., Separation]) -> None:
        """Hold the separator, which is pickled for the child."""
        self._separate = separate
        self._one_at_a_time = threading.Lock()

    def __call__(
        self,
        source: Path,
        directory: Path,
        *,
        job_id: str,
        progress: Callable[[float], None],
        stopping: Callable[[], bool],
        **options: Any,
    ) -> Separation:
        """Separate as the separator does.

        Raises:
            SeparatorCrashed: the child died by itself.
        """
        while not self._one_at_a_time.acquire(timeout=LOOK_EVERY_SECONDS):
            progress(0.0)
            _raise_if_stopping(stopping)
        try:
            level = logging.getLogger().getEffectiveLevel()
            with SeparatorProcess(job_id, (level, self._separate, source, directory, options)) as child:
                return child.relay(progress, stopping)
        finally:
            self._one_at_a_time.release()


class SeparatorProcess:
    """Run the child process of one job; a context that leaves none behind."""

    def __init__(self, job_id: str, task: tuple[Any, ...]) -> None:
        self._job_id = job_id
        self._ready = False
        self._rest = b""
        self._pipe, theirs = multiprocessing.Pipe()
        # Blocked in this thread, they arrive blocked in the child: a stop that reaches it first must not look like a
        # crash.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, NOT_FOR_US)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "ezstems.audio.isolated", str(theirs.fileno()), str(os.getpid())],
                    cwd=SEARCH_FOLDER,  # `-m` finds modules where it runs, and must find the package's alone
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    bufsize=0,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except BaseException:
            self._pipe.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            self._pipe.send(task)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has died, as `relay` finds out
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "SeparatorProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._pipe.close()

    def relay(self, progress: Callable[[float], None], stopping: Callable[[], bool]) -> Separation:
        """Relay the child's progress and log until it ends; return its separation or raise its error."""
        output = self._process.stdout
        sources: list[Any] = [self._pipe, output]
        while True:
            found = wait(sources, LOOK_EVERY_SECONDS)
            if output in found and not self._log_output():
                sources.remove(output)
            if self._pipe in found:
                try:
                    kind, *values = self._pipe.recv()
                except (EOFError, ConnectionResetError):
                    raise self._error_of_death(stopping) from None
                if kind == DONE:
                    return values[0]
                if kind == FAILED:
                    raise _with_traceback(*values)
                self._ready |= kind == READY
                if kind == LOGGED:
                    log_as(*values, job_id=self._job_id)
                if kind == PROGRESS:
                    progress(*values)
            _raise_if_stopping(stopping)

    def _log_output(self) -> bool:
        """Log each line that the child wrote to its standard output or error; return False at the end."""
        block = os.read(self._process.stdout.fileno(), OUTPUT_BYTES)  # type: ignore[union-attr]
        *lines, self._rest = (self._rest + (block or b"\n")).split(b"\n")
        if len(self._rest) > OUTPUT_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in filter(None, lines):
            message = f"job {self._job_id}, in its own process: {line.decode(errors='replace')}"
            log.warning("%s", message, extra={"job_id": self._job_id})
        return bool(block)

    def _error_of_death(self, stopping: Callable[[], bool]) -> Exception:
        self._process.kill()  # where it only closed its pipe
        code = self._process.wait()
        while wait([self._process.stdout], 0) and self._log_output():  # type: ignore[list-item]
            pass
        deadline = time.monotonic() + BLAME_AFTER_SECONDS
        while time.monotonic() < deadline:
            _raise_if_stopping(stopping)
            time.sleep(0.05)
        if not self._ready:
            return RuntimeError(f"the process for job {self._job_id} ended with {code} before it could begin")
        log.error("job %s: its own process ended with %s", self._job_id, code, extra={"job_id": self._job_id})
        return SeparatorCrashed(CRASHED)


def _raise_if_stopping(stopping: Callable[[], bool]) -> None:
    if stopping():
        raise Interrupted("stopped")


def _with_traceback(error: BaseException, cause: OSError | None, stack: str) -> BaseException:
    """Return a child's error with the traceback that it had there."""
    error.__cause__ = cause
    (cause or error).__cause__ = ChildTraceback(stack)
    return error
