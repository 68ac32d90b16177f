"""The fixtures of all tests: an app on its own instance folder, its clients, accounts and audio."""

import io
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from ezstems import create_app, log, models
from ezstems.cli import cli
from ezstems.database import db
from ezstems.errors import EzStemsError
from ezstems.jobs.desk import EXTENSION, Desk
from ezstems.models import ApiKey, Job, User
from tests.support import databases
from tests.support.audio_files import write_wav
from tests.support.separation_box import SeparationBox
from tests.support.separators import FastSeparator

pytest_plugins = ["tests.support.random_models", "tests.support.backend_fixtures"]

# A shell that starts the tests in the background ignores it, and so would whatever they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).resolve().parent
PASSWORD = "a good password"
SEPARATIONS = "running separations"  # among an app's extensions
# Where the tests keep rows and files: in the instance's folder, or the rows in PostgreSQL, or all in a whole cluster.
BACKENDS = ("folder", "postgresql", "cluster")
BACKEND = os.environ.get("BACKEND") or BACKENDS[0]
assert BACKEND in BACKENDS, f"BACKEND={BACKEND!r} must be one of {', '.join(BACKENDS)}"
IN_CLUSTER = BACKEND == "cluster"
ON_POSTGRESQL = BACKEND == "postgresql" or IN_CLUSTER
# Whose tests take their time: those that import what starts a server, a browser or TensorFlow, which makes networks.
SLOW = ("clients", "browser", "soak", "benchmarks")
SLOW_SUPPORT = ("servers", "backends", "proxies", "tensorflow", "checkpoints")
STARTERS = tuple(f"tests.{name}" for name in (*SLOW, *(f"support.{name}" for name in SLOW_SUPPORT)))
SLOW_FIXTURES = {"models", "official", "postgres", "redis", "rabbitmq", "object_store"}
# The files that take longest, in this order: begun last, one of them would leave the other processes without work.
LONGEST = (
    *("jobs/test_cluster_crashes.py",),
    *("jobs/test_crashes.py", "audio/test_parity.py", "audio/test_hostile.py", "browser/test_mixer.py"),
    *("jobs/test_watchdog.py", "server/test_load.py", "jobs/test_lost.py", "operations/test_watch.py"),
    *("browser/test_accessibility.py", "audio/test_separate.py", "network/test_composed.py", "test_readme.py"),
    *("network/test_unet.py", "api/test_schemathesis.py", "jobs/test_restarts.py", "jobs/test_damage.py"),
    *("browser/test_journey.py", "browser/test_firefox.py", "commands/test_serve.py", "operations/test_macos.py"),
    *("operations/test_lock.py", "operations/test_full_disk.py", "operations/test_upgrade.py"),
    *("jobs/test_retention.py",),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark what `make quick` runs; let processes that share the tests begin with the longest files."""
    for item in items:
        sources = {item.module.__name__, *(getattr(value, "__module__", "") for value in vars(item.module).values())}
        starts = any(str(source).startswith(STARTERS) for source in sources)
        if not (starts or item.get_closest_marker("slow")) and SLOW_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker("quick")
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = {TESTS / name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: place.get(item.path, len(place)))


@dataclass(frozen=True)
class Account:
    """Name a user and a key of theirs."""

    user_id: int
    email: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that authenticates a call."""
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EZSTEMS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make password hashes as quick as they are weak: they cost a tenth of a second by design."""
    quick = partial(generate_password_hash, method="pbkdf2:sha256:1")
    monkeypatch.setattr(models.user, "generate_password_hash", quick)


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the machine into another time zone."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True, scope="session")
def _database(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep every test's rows, and files, where the environment's BACKEND says."""
    if ON_POSTGRESQL:
        wanted = "whole_clusters" if IN_CLUSTER else "postgres_databases"
        with databases.on_postgresql(request.getfixturevalue(wanted)):
            yield
    else:
        yield


@pytest.fixture(autouse=True)
def _only_elsewhere(request: pytest.FixtureRequest) -> None:
    if (marker := request.node.get_closest_marker("sqlite")) and ON_POSTGRESQL:
        pytest.skip(f"about SQLite: {marker.args[0]}")
    if (marker := request.node.get_closest_marker("one_box")) and IN_CLUSTER:
        pytest.skip(f"about one box: {marker.args[0]}")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "instance"
    yield folder
    databases.drop(folder)


@pytest.fixture
def entered_path() -> Iterator[Path]:
    """Return a folder that every user may enter; each start of pytest closes the one that holds `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)
        yield folder


@pytest.fixture
def run(instance: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a runner of commands on the test's instance folder; it checks the exit code."""
    monkeypatch.setenv("EZSTEMS_INSTANCE", str(instance))
    for name, value in databases.settings_of(instance).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(log, "configure", lambda _level: None)  # the tests' own logging stays

    def invoke(*arguments: str, code: int = 0, typed: str | None = None) -> Result:
        result = CliRunner().invoke(cli, arguments, input=typed)
        if isinstance(result.exception, EzStemsError):
            result.exit_code = 1
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return invoke


@pytest.fixture
def no_housekeeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the duties of the house to the test: they come within seconds, and a busy machine takes as long for it."""
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 3600.0)


@pytest.fixture
def separator() -> FastSeparator:
    return FastSeparator()


@pytest.fixture
def make_app(instance: Path, separator: FastSeparator, backend: dict[str, Any]) -> Iterator[Callable[..., Flask]]:
    """Return a maker of apps on the same instance folder; settings are named without their prefix."""
    made: list[Flask] = []
    boxes: list[SeparationBox] = []

    def make(**settings: Any) -> Flask:
        named = {f"EZSTEMS_{name.upper()}": value for name, value in settings.items()}
        own = {"EZSTEMS_INSTANCE": instance, "EZSTEMS_MIN_FREE_MB": 1, "SEPARATOR": separator, "TESTING": True}
        own["EZSTEMS_PREVIEWS"] = "off"  # but for who asks: their time is their own
        app = create_app(own | databases.settings_of(instance) | backend | named)
        # As behind gunicorn: a crash is answered, not raised into the test.
        app.config["PROPAGATE_EXCEPTIONS"] = False
        made.append(app)
        if "EZSTEMS_BROKER_URL" in databases.settings_of(instance) and "broker_url" not in settings:
            if not boxes:
                boxes.append(SeparationBox(app))
            app.extensions[SEPARATIONS] = boxes[0].running
        else:
            app.extensions[SEPARATIONS] = lambda: set(app.extensions[EXTENSION].dispatch._queue._running)
        return app

    yield make
    separator.release()
    for box in boxes:
        box.close()
    for app in made:
        app.extensions[EXTENSION].close()
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def desk(app: Flask) -> Desk:
    return app.extensions[EXTENSION]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def make_account(app: Flask) -> Callable[..., Account]:
    """Return a maker of accounts, each with a key."""

    def make(
        email: str = "someone@example.com",
        plan: str = "basic",
        max_mb: int | None = None,
        rate_limit: int | None = None,
    ) -> Account:
        with app.app_context():
            user = User(email=email, plan=plan, max_mb=max_mb)
            user.set_password(PASSWORD)
            db.session.add(user)
            db.session.commit()
            _, key = ApiKey.issue(user, rate_limit)
            db.session.commit()
            return Account(user.id, email, key)

    return make


@pytest.fixture
def account(make_account: Callable[..., Account]) -> Account:
    return make_account()


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a WAV of half a second: a chord."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    times = np.arange(22_050) / 44_100
    chord = sum(0.2 * np.sin(2 * np.pi * hz * times) for hz in (220.0, 277.2, 329.6))
    write_wav(path, np.stack([chord, chord], axis=1))
    return path.read_bytes()


@pytest.fixture
def upload(client: FlaskClient, account: Account, song: bytes) -> Callable[..., TestResponse]:
    """Return an uploader: fields by name; `content`, `name` and `who` replace the song, its name, the caller."""

    def send(content: bytes = song, name: str = "song.wav", who: Account = account, **fields: str) -> TestResponse:
        data = {"file": (io.BytesIO(content), name), **({"stems": "2"} | fields)}
        return client.post("/api/v1/upload.php", data=data, headers=who.headers)

    return send


@pytest.fixture
def finished(app: Flask) -> Callable[[str], Job]:
    """Return a waiter: the job with an id, detached, once it is completed or failed and its files are in order."""
    running = app.extensions[SEPARATIONS]  # the row says so before the runner deletes the upload

    def wait(job_id: str, seconds: float = 60.0) -> Job:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with app.app_context():
                job = db.session.scalars(select(Job).where(Job.id == job_id)).one()
                if job.status in ("completed", "failed") and job.number not in running():
                    db.session.expunge(job)
                    return job
            time.sleep(0.01)
        raise AssertionError(f"job {job_id} is {job.status} after {seconds} s")

    return wait


@pytest.fixture
def done(upload: Callable[..., TestResponse], finished: Callable[[str], Job]) -> Callable[..., Job]:
    """Return a maker of completed jobs; the parameters are those of the upload."""

    def make(**parameters: Any) -> Job:
        job = finished(upload(**parameters).json["data"]["id"])
        assert job.status == "completed"
        return job

    return make
