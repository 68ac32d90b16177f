"""Who may know whom: `web → jobs → audio`; models and errors serve the first two; nothing points back."""

import ast
import os
import subprocess
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ezstems"
# Libraries that a room must not know.
FOREIGN = {
    "audio": {"flask", "flask_sqlalchemy", "sqlalchemy", "gunicorn", "click", "rich"},
    "builtin": {"flask", "flask_sqlalchemy", "sqlalchemy", "gunicorn"},
}
# Libraries that take seconds to import, or much memory, and the only files of the engine that may, when they need them.
HEAVY = {
    "openvino": {"runtimes.py"},
    "spleeter": {"configuration.py", "reference.py"},
    "tensorflow": {"runtimes.py"},
}
# What of the package a room may import, beside itself.
ALLOWED = {
    "audio": {"ezstems.errors"},
    "builtin": set(),
    "jobs": {
        "ezstems.audio", "ezstems.models", "ezstems.database", "ezstems.disk", "ezstems.errors", "ezstems.watch"
    },
    "web": {"ezstems.jobs", "ezstems.models", "ezstems.database", "ezstems.disk", "ezstems.errors"},
    "models": {"ezstems.database", "ezstems.errors"},
    "database.py": {"ezstems.watch"},
    "watch.py": {"ezstems.errors"},
    "disk.py": {"ezstems.errors"},
    "errors.py": set(),
    "config.py": {"ezstems.errors", "ezstems.home"},
    "home.py": {"ezstems.errors"},
}


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, each `from x import y` as `x.y`."""
    names = set()
    package = ".".join(path.relative_to(PACKAGE.parent).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def files(room: str) -> list[Path]:
    found = [PACKAGE / room] if room.endswith(".py") else sorted((PACKAGE / room).rglob("*.py"))
    assert found and all(path.exists() for path in found), room
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_knows_only_whom_it_may(room: str) -> None:
    own = f"ezstems.{room.removesuffix('.py')}"
    for path in files(room):
        for name in imports(path):
            if name.split(".")[0] == "ezstems":
                allowed = ALLOWED[room] | {own}
                assert any(name == other or name.startswith(f"{other}.") for other in allowed), f"{path}: {name}"
            assert name.split(".")[0] not in FOREIGN.get(room, ()), f"{path}: {name}"


def test_the_web_sees_of_jobs_only_what_the_room_shows() -> None:
    shown = {
        f"ezstems.jobs.{name}"
        for node in ast.parse((PACKAGE / "jobs" / "__init__.py").read_text()).body
        if isinstance(node, ast.ImportFrom)
        for name in (alias.name for alias in node.names)
    }
    for path in files("web"):
        used = {name for name in imports(path) if name.startswith("ezstems.jobs")}
        assert used <= shown, f"{path}: {used - shown}"


def test_the_queue_knows_neither_flask_nor_sql() -> None:
    assert not {name.split(".")[0] for name in imports(PACKAGE / "jobs" / "queue.py")} & {"flask", "sqlalchemy"}


def test_only_the_archive_and_its_worker_build_paths_of_the_instance() -> None:
    speakers = {
        path.relative_to(PACKAGE).as_posix()
        for room in ("web", "jobs", "commands")
        for path in files(room)
        if '"uploads"' in path.read_text() or '"results"' in path.read_text()
    }
    assert speakers == {"jobs/archive.py"}


@pytest.mark.parametrize(("library", "users"), HEAVY.items())
def test_a_heavy_library_has_few_users(library: str, users: set[str]) -> None:
    found = {path.name for path in files("audio") if library in {name.split(".")[0] for name in imports(path)}}
    assert found == users


def test_only_the_metrics_know_prometheus() -> None:
    found = {path for path in PACKAGE.rglob("*.py") if any("prometheus" in name for name in imports(path))}
    assert found == {PACKAGE / "web" / "metrics.py"}


@pytest.mark.parametrize("module", ["ezstems.audio.separate", "ezstems.cli", "ezstems.gunicorn_conf"])
def test_importing_loads_no_heavy_library(module: str, tmp_path: Path) -> None:
    slow = set(HEAVY) | {"tf_keras", "pandas", "prometheus_client"}
    code = f"import sys, {module}; print(*{slow} & set(sys.modules))"
    environ = {"EZSTEMS_INSTANCE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_audio_loads_without_flask() -> None:
    code = "import sys; sys.modules['flask'] = None; import ezstems.audio.separate"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_to_find_the_tests_makes_no_instance(tmp_path: Path) -> None:
    """A developer's own instance, beside the package, is none of the tests' business."""
    folder = tmp_path / "instance"
    finding = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
    environ = {**os.environ, "EZSTEMS_INSTANCE": str(folder)}
    found = subprocess.run(finding, cwd=PACKAGE.parent, env=environ, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "::test_" in found.stdout, found.stdout[-2000:]
    assert not folder.exists()
