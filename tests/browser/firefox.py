"""Debian's Firefox, headless, with a sound card that isn't one; `firefox.js` drives it."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.browser.mixers import Listener
from tests.clients.programs import Unavailable, install

HERE = Path(__file__).resolve().parent
PATIENCE_SECONDS = 60  # machines are slow, and shared
PULSEAUDIO = ("pulseaudio", "--daemonize=no", "--exit-idle-time=600", "-n")
MODULES = ("module-native-protocol-unix", "module-null-sink")


def node_modules() -> Path:
    """Return the packages that drive it; skip where something is missing."""
    for program in ("firefox-esr", "pulseaudio", "node"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    try:
        return install(HERE)
    except Unavailable as reason:
        pytest.skip(str(reason))


class Firefox:
    """Drive one page at a time, each in a fresh profile."""

    def __enter__(self) -> "Firefox":
        packages = node_modules()
        with ExitStack() as stack:
            # A socket's path may have 107 letters; pytest's folders are longer.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            self.downloads = folder / "downloads"
            self.downloads.mkdir()
            of_its_own = dict.fromkeys(("HOME", "TMPDIR", "XDG_RUNTIME_DIR"), str(folder))
            named = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
            environ = named | of_its_own | {"NODE_PATH": str(packages)}
            # Without an output the clock of a page's sound would stand still; should nobody end it, it ends itself.
            modules = [part for name in MODULES for part in ("-L", name)]
            sound = subprocess.Popen([*PULSEAUDIO, *modules], env=environ, stderr=subprocess.DEVNULL)
            stack.callback(_end, sound)
            until((folder / "pulse" / "native").exists)
            program = ["node", str(HERE / "firefox.js"), shutil.which("firefox-esr"), str(self.downloads)]
            self._driver = subprocess.Popen(
                [*program, str(1000 * PATIENCE_SECONDS)],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end, self._driver)
            assert self._answer().startswith("firefox/")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, name: str, *values: Any) -> Any:
        """Give a command of `firefox.js`; return its answer."""
        assert self._driver.stdin is not None
        self._driver.stdin.write(json.dumps([name, *values]) + "\n")
        self._driver.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._driver.stdout is not None
        line = self._driver.stdout.readline()
        assert line, "the driver has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def evaluate(self, function: str, *values: Any) -> Any:
        """Call a function in the page."""
        return self("evaluate", function, values)

    def until(self, function: str, *values: Any) -> Any:
        """Wait until a function in the page returns what is true; return that."""
        return until(lambda: self.evaluate(function, *values))

    def at(self, path: str) -> None:
        """Wait until the page's address ends so."""
        until(lambda: self("url").endswith(path))

    def click_button(self, name: str) -> None:
        """Press a button, by its words."""
        self("click", f'::-p-aria([name="{name}"][role="button"])')

    def saved(self, name: str) -> Path:
        """Wait until a download is there; return it."""
        path = self.downloads / name
        until(lambda: path.exists() and path.stat().st_size and not list(self.downloads.glob("*.part")))
        return path


def _end(process: subprocess.Popen[Any]) -> None:
    """Let a program end: one that listens by its input's end, which ends the browser, too; another by a signal."""
    ask = process.terminate if process.stdin is None else process.stdin.close
    for act in (ask, process.terminate, process.kill):
        act()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS / 2)
            break
    if process.stdout is not None:
        process.stdout.close()


def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not in {seconds} s"
        time.sleep(0.05)
    return value


class FirefoxMixer(Listener):
    """Drive the mixer of the page that is open."""

    def __init__(self, firefox: Firefox) -> None:
        self.firefox = firefox
        super().__init__(self.evaluate, lambda milliseconds: time.sleep(milliseconds / 1000))
        firefox.until("() => document.querySelector('[data-mixer]')?.dataset.state === 'ready'")

    def evaluate(self, function: str, *values: Any) -> Any:
        """Call a function with the mixer's section."""
        called = f"(...values) => ({function})(document.querySelector('[data-mixer]'), ...values)"
        return self.firefox.evaluate(called, *values)

    def expect(self, state: str) -> None:
        """Wait for a state."""
        self.until(lambda moment: moment.state == state, PATIENCE_SECONDS)

    def play(self) -> None:
        """Press the button, and wait until the song sounds."""
        self.firefox("click", part("play"))
        self.expect("playing")

    def set(self, selector: str, value: int) -> None:
        """Move a slider, and let it go."""
        self.firefox("fill", selector, str(value))

    def text(self, selector: str) -> str:
        """Read what a part says."""
        return self.firefox.evaluate("(selector) => document.querySelector(selector).textContent", selector)


def part(name: str, stem: str | None = None) -> str:
    """Return what finds a part of the mixer, or of a lane."""
    place = "[data-mixer] :not([data-lane] *)" if stem is None else f"[data-lane={stem}] "
    return f"{place}[data-part={name}]"
