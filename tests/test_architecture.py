"""Who may know whom: `server → web → jobs → audio → network → weights`, `instance → jobs`; nothing points back."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

from ezstems.cli import COMMANDS
from tests.conftest import LONGEST, TESTS

PACKAGE = Path(__file__).resolve().parent.parent / "ezstems"
LONGEST_FILE_LINES = 250
# Libraries that a room must not know.
FOREIGN = {
    **dict.fromkeys(
        ("audio", "network", "weights"), {"flask", "flask_sqlalchemy", "sqlalchemy", "gunicorn", "click", "rich"}
    ),
    "builtin": {"flask", "flask_sqlalchemy", "sqlalchemy", "gunicorn"},
    "remote": {"flask", "flask_sqlalchemy", "sqlalchemy", "gunicorn", "click", "rich", "numpy"},
}
# Libraries that take seconds to import, or much memory, and the only files that may, when they need them.
HEAVY = {
    "openvino": {"runtimes.py"},
    "spleeter": {"configuration.py", "reference.py"},
    "tensorflow": {"runtimes.py"},
}
# What of the package a room may import, beside itself.
ALLOWED = {
    "weights": {"ezstems.errors", "ezstems.files"},
    "network": {"ezstems.weights", "ezstems.errors"},
    "audio": {"ezstems.network", "ezstems.errors"},
    "builtin": set(),
    "jobs": {
        *("ezstems.audio", "ezstems.models", "ezstems.database", "ezstems.database_watch", "ezstems.disk"),
        *("ezstems.database_server", "ezstems.errors", "ezstems.files", "ezstems.webhooks"),
    },
    "webhooks": {"ezstems.models", "ezstems.database", "ezstems.errors"},
    "instance": {
        *("ezstems.files", "ezstems.jobs", "ezstems.models", "ezstems.database", "ezstems.disk"),
        *("ezstems.errors",),
    },
    "server": {
        *("ezstems.web", "ezstems.jobs", "ezstems.network", "ezstems.weights", "ezstems.database", "ezstems.errors"),
        *("ezstems.cluster", "ezstems.config", "ezstems.create_app", "ezstems.instance", "ezstems.log"),
    },
    "web": {
        *("ezstems.jobs", "ezstems.models", "ezstems.database", "ezstems.database_server", "ezstems.disk"),
        *("ezstems.errors", "ezstems.webhooks"),
    },
    "models": {"ezstems.database", "ezstems.errors"},
    "remote": {"ezstems.errors"},
    "database.py": {"ezstems.database_server", "ezstems.database_watch"},
    "database_server.py": set(),
    "database_watch.py": {"ezstems.errors"},
    "disk.py": {"ezstems.errors"},
    "files.py": set(),
    "errors.py": set(),
    "config.py": {"ezstems.cluster", "ezstems.errors", "ezstems.home", "ezstems.parsers", "ezstems.remote.VARIABLES"},
    "parsers.py": set(),
    "cluster.py": {"ezstems.errors"},
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


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not by way of others either, nor later, inside a function."""
    paths = {path.relative_to(PACKAGE.parent).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    modules = {".".join(name.parts).removesuffix(".__init__"): path for name, path in paths.items()}
    arrows = {
        name: {one if one in modules else one.rpartition(".")[0] for one in imports(path)} & (set(modules) - {name})
        for name, path in modules.items()
    }
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names them


def test_no_file_is_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert not {str(path): lines for path, lines in lengths.items() if lines > LONGEST_FILE_LINES}


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
    rooms = [path for room in ("audio", "network", "weights") for path in files(room)]
    assert {path.name for path in rooms if library in {name.split(".")[0] for name in imports(path)}} == users


def test_only_the_server_knows_gunicorn() -> None:
    found = {path for path in PACKAGE.rglob("*.py") if any(name.startswith("gunicorn.") for name in imports(path))}
    assert {path.relative_to(PACKAGE).parts[0] for path in found} == {"server"}


def test_no_room_but_the_app_and_gunicorns_settings_knows_the_server() -> None:
    found = {path for path in PACKAGE.rglob("*.py") if any(name.startswith("ezstems.server") for name in imports(path))}
    outside = {path.relative_to(PACKAGE).as_posix() for path in found - set(files("server"))}
    assert outside == {"__init__.py", "commands/serve.py", "commands/worker.py", "gunicorn_conf.py"}


def test_few_know_celery() -> None:
    found = {path for path in PACKAGE.rglob("*.py") if {"celery", "kombu"} & {n.split(".")[0] for n in imports(path)}}
    names = {path.relative_to(PACKAGE).as_posix() for path in found}
    in_jobs = {f"jobs/{name}.py" for name in ("celery_app", "redis_transport", "tickets")}
    assert names == in_jobs | {"server/celery_consumer.py", "server/celery_worker.py"}


def test_only_the_metrics_know_prometheus() -> None:
    found = {path for path in PACKAGE.rglob("*.py") if any("prometheus" in name for name in imports(path))}
    assert found == {PACKAGE / "web" / "metrics.py"}


EVERY_COMMAND = ", ".join(f"ezstems.commands.{name}" for name in COMMANDS)


@pytest.mark.parametrize("module", ["ezstems.audio.separate", EVERY_COMMAND, "ezstems.gunicorn_conf"])
def test_importing_loads_no_heavy_library(module: str, tmp_path: Path) -> None:
    slow = set(HEAVY) | {"tf_keras", "pandas", "prometheus_client", "celery", "kombu", "psycopg"}
    code = f"import sys, {module}; print(*{slow} & set(sys.modules))"
    environ = {"EZSTEMS_INSTANCE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_audio_loads_without_flask() -> None:
    code = "import sys; sys.modules['flask'] = None; import ezstems.audio.separate"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_to_find_the_tests_makes_no_instance(tmp_path: Path) -> None:
    """A developer's own instance, beside the package, is none of the tests' business."""
    folder = tmp_path / "instance"
    finding = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
    environ = {**os.environ, "EZSTEMS_INSTANCE": str(folder)}
    found = subprocess.run(finding, cwd=PACKAGE.parent, env=environ, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "::test_" in found.stdout, found.stdout[-2000:]
    assert not folder.exists()


def test_the_longest_test_files_are_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []
