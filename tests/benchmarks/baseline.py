"""What we are measured against: Spleeter's own program, in a venv of its own."""

import json
import os
import select
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType

from tests.benchmarks.machine import memory_mb

SCRIPT = Path(__file__).with_name("spleeter_baseline.py")
VARIABLE = "SPLEETER_VENV"
HOW = (
    f"To compare, set {VARIABLE} to a venv (Python 3.10 or 3.11) with `pip install spleeter==2.4.2` and its own pins, "
    "with ffmpeg and ffprobe on the PATH."
)


class Baseline:
    """Run Spleeter with the checkpoints of a folder; one number of stems at a time is warm."""

    def __init__(self, venv: Path, models: Path, folder: Path) -> None:
        self._venv = venv
        self._folder = folder
        self._environ = os.environ | {"MODEL_PATH": str(models), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._log = folder / "spleeter.log"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Baseline":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, stems: int) -> None:
        """Start the process that is to be kept warm, in the place of the one before."""
        self.close()
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [self._venv / "bin" / "python", "-I", SCRIPT, str(stems)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._folder,
                env=self._environ,
                start_new_session=True,
            )

    def close(self) -> None:
        """End the process and its pool; harmless when there is none."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def separate(self, song: Path, stems: int, codec: str = "wav") -> float:
        """Return the seconds of one warm `separate_to_file`; between two, the process waits for its stdin."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            print(json.dumps({"song": str(song), "target": target, "codec": codec}), file=process.stdin, flush=True)
            while not select.select([process.stdout], [], [], 1)[0]:
                assert process.poll() is None, self._said()  # its pool would keep the pipe open
            answer = process.stdout.readline()
            assert answer, self._said()
            self._check(Path(target), stems, codec)
        return float(answer)

    def command(self, song: Path) -> float:
        """Return the seconds of the command `spleeter separate`, 2 stems."""
        with tempfile.TemporaryDirectory(dir=self._folder) as target, self._log.open("a") as log:
            arguments = ("separate", "-p", "spleeter:2stems", "-o", target, str(song))
            started = monotonic()
            done = subprocess.run(
                [self._venv / "bin" / "spleeter", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environ,
                check=False,
            )
            seconds = monotonic() - started
            assert done.returncode == 0, self._said()
            self._check(Path(target), 2, "wav")
        return seconds

    def peak_mb(self) -> float:
        """Return the peak memory of the warm process."""
        assert self._process is not None
        return memory_mb("VmHWM", self._process.pid)

    def versions(self) -> str:
        """Name what is in the venv."""
        code = "from importlib.metadata import version; print('spleeter', version('spleeter'), end=' with ');"
        code += "print('tensorflow', version('tensorflow'))"
        python = [self._venv / "bin" / "python", "-I", "-c", code]
        return subprocess.run(python, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def _check(self, target: Path, stems: int, codec: str) -> None:
        assert len([file for file in target.glob(f"*/*.{codec}") if file.stat().st_size]) == stems, self._said()

    def _said(self) -> str:
        return self._log.read_text()[-4000:]
