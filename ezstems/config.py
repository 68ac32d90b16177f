"""The settings: one table of name, default, parser and help; everything else reads the parsed values."""

import logging
import os
import runpy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from ezstems import cluster
from ezstems.errors import ConfigurationError
from ezstems.home import default_folder
from ezstems.parsers import address, choice, database, hide_secrets, hosts, integer, number, origins, path, words
from ezstems.remote import VARIABLES

log = logging.getLogger(__name__)

PREFIX = "EZSTEMS_"
# The lines of `config.py` that this process goes by, of each instance whose file it doesn't look at any more.
_held: dict[Path, dict[str, Any]] = {}


@dataclass(frozen=True)
class Setting:
    """Describe one setting: `parse` turns a raw value into the typed one or raises ValueError naming the rule."""

    name: str
    default: Any
    parse: Callable[[Any], Any]
    help: str


# The folder moves everything else, so it comes from the environment alone: config.py lies inside it.
INSTANCE = Setting("INSTANCE", None, path, "folder of all state; default: `instance/` in a checkout, otherwise "
        "`ezstems/` in `XDG_DATA_HOME`, or in `~/.local/share`")  # fmt: skip

SETTINGS = (
    Setting("BIND", "127.0.0.1:8000", address, "address and port, or `unix:` and a path, that gunicorn serves on"),
    Setting("WORKERS", 1, integer(1, 64), "gunicorn worker processes; each holds its own copy of the weights"),
    Setting("THREADS", 32, integer(2, 1024), "request threads of a worker, beside up to 96 that wait for slow clients"),
    Setting("WAITERS", 64, integer(0, 1024), "calls with `Prefer: wait` that may wait for jobs' ends in a worker, "
            "each in a thread more; one on top is answered at once"),  # fmt: skip
    Setting("KEY_WAITERS", 8, integer(0, 1024), "of these, how many may be of one key"),
    Setting("SEPARATIONS", 1, integer(1, 16), "songs that a worker separates at the same time"),
    Setting("QUEUE_SIZE", 2000, integer(1, 1_000_000), "jobs that may wait in a worker, or in a "
            "whole cluster; one more upload gets a 500"),
    Setting("STALL_SECONDS", 600.0, number(1, 1e9), "how long a running job may make no progress before it fails, by "
            "the server's fault; a worker process that can't stop it then is replaced"),  # fmt: skip
    Setting("ACCOUNT_JOBS", 1000, integer(1, 1_000_000), "unfinished jobs that an account may have, so that none fills "
            "the queue alone; one more upload gets a 403"),  # fmt: skip
    Setting("MODEL", "auto", choice("auto", "official", "builtin"), "weights: `official`, `builtin`, or `auto`: "
            "official where they are; with those of 2 stems alone, their vocals before bundled weights"),  # fmt: skip
    Setting("MODELS", None, path, "folder of the official weights; default: `models/` in the instance folder"),
    Setting("ENGINE", "auto", choice("auto", "openvino", "tensorflow"), "what runs the network: `openvino`, "
            "`tensorflow` (slower, the reference), or `auto`: OpenVINO where it works"),  # fmt: skip
    Setting("PRECISION", "auto", choice("auto", "float32", "bfloat16"), "numbers of the network: `float32`, "
            "`bfloat16`, or `auto`: bfloat16 where the processor has instructions for it"),  # fmt: skip
    Setting("CUTOFF", "full", choice("full", "11kHz", "16kHz"), "band of the stems where none is asked for: `full`, "
            "`11kHz` or `16kHz`"),  # fmt: skip
    Setting("IDLE_SECONDS", 600.0, number(0, 1e9), "how long a network that nobody uses stays in memory"),
    Setting("DATABASE_URL", None, database, "SQLAlchemy URL; default: `ezstems.sqlite3` in the instance folder"),
    Setting("BROKER_URL", None, cluster.broker, "in a cluster: Redis or RabbitMQ, by which Celery's workers hear "
            "of jobs; web processes separate nothing then"),  # fmt: skip
    Setting("JOB_SECONDS", 10_800, integer(1, 604_800), "in a cluster: how long a job may run before it fails, by the "
            "server's fault"),  # fmt: skip
    Setting("STORAGE_URL", None, cluster.store, "in a cluster: object store of uploads and results, "
            "`s3://BUCKET/PREFIX`, `gs://…` or `az://…`, or `file:///FOLDER` that all boxes mount"),  # fmt: skip
    Setting("RATE_LIMIT", 100, integer(1, 1_000_000_000), "calls of a key in a window, unless the key has its own"),
    Setting("RATE_WINDOW_SECONDS", 60, integer(1, 31_536_000), "length of the window, which the first call starts"),
    Setting("MIN_FREE_MB", 512, integer(0, 1_000_000_000), "free disk, in MiB, under which uploads are refused and "
            "no job begins; a backup leaves as much"),  # fmt: skip
    Setting("RETENTION_HOURS", 72.0, number(0.001, 1_000_000), "how long a finished job's files are kept"),
    Setting("KEEP_UPLOADS", "on", choice("on", "off"), "whether uploads are kept as long as results: `on` or `off`"),
    Setting("PREVIEWS", "on", choice("on", "off"), "whether the website's mixer gets previews, Opus at 96 kbit/s, made "
            "once a result is there: `on` or `off`"),  # fmt: skip
    Setting("MAX_DURATION_SECONDS", 10_800, integer(1, 604_800), "longest audio that a job may hold"),
    Setting("REGISTRATION", "open", choice("open", "closed"), "whether visitors may make themselves accounts on the "
            "website: `open`, or `closed`: the operator makes them"),  # fmt: skip
    Setting("LOGIN_ATTEMPTS", 20, integer(1, 1_000_000), "wrong passwords that an address (of IPv6, a /64) may send to "
            "the website in a window; an account's logins from all of them together are at most three times as many"),
    Setting("LOGIN_WINDOW_SECONDS", 900, integer(1, 86_400), "length of that window, which the first login starts"),
    Setting("REGISTRATIONS", 20, integer(1, 1_000_000), "accounts that an address may make on the website in a day"),
    Setting("PROXIES", 0, integer(0, 16), "web servers in front of this one, each of which sets X-Forwarded-For, "
            "-Proto and -Host; with 0, these headers count for nothing"),
    Setting("TRUSTED_HOSTS", (), hosts, "names by which the server may be called, without ports, `.example.com` for "
            "all below it; any other `Host` gets a 400; empty: any name"),  # fmt: skip
    Setting("WEBHOOKS", "off", choice("off", "on"), "whether the ends of jobs are sent to URLs that accounts name"),
    Setting("WEBHOOK_HOSTS", (), words, "names (`.lan`: all below it), addresses and networks (`10.0.0.0/8`) that "
            "webhooks may go to although they aren't public, also by plain http"),  # fmt: skip
    Setting("CORS_ORIGINS", (), origins, "origins of other websites whose scripts may call the API"),
    Setting("LOG_LEVEL", "info", choice("debug", "info", "warning", "error"), "least severity that is logged"),
    Setting("LOG", "plain", choice("plain", "json"), "how a line of the log is written: `plain` or `json`"),
    Setting("METRICS", "off", choice("off", "on"), "whether `/metrics` tells Prometheus, and whoever reaches it, "
            "how the server fares: `on` or `off`"),  # fmt: skip
)


def instance_folder(environ: Mapping[str, Any] = os.environ) -> Path:
    """Return the folder named by EZSTEMS_INSTANCE, or the default one."""
    raw = environ.get(PREFIX + INSTANCE.name)
    return default_folder(environ) if raw is None else _parse(INSTANCE, raw)


@contextmanager
def held(instance: Path) -> Iterator[None]:
    """Read `config.py` and go by that from now on, in forks too, whatever becomes of the file.

    Where the block finds it wrong, what was held before goes on being held.
    """
    before = _held.copy()
    _held[instance] = _file(instance / "config.py")
    try:
        yield
    except BaseException:
        _held.clear()
        _held.update(before)
        raise


def load(instance: Path, environ: Mapping[str, Any] = os.environ) -> dict[str, Any]:
    """Parse every setting: the environment first, then `config.py` of the instance folder, then the default."""
    lines = _held[instance] if instance in _held else _file(instance / "config.py")
    known = {PREFIX + setting.name for setting in (*SETTINGS, INSTANCE)}
    for name in sorted({*lines, *(n for n in environ if n.startswith(PREFIX))} - known - {*VARIABLES}):
        log.warning("%s is no setting and changes nothing; known are %s", name, ", ".join(sorted(known)))
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        name = PREFIX + setting.name
        raw = environ.get(name, lines.get(name))
        values[name] = setting.default if raw is None else _parse(setting, raw)
    values[PREFIX + "MODELS"] = values[PREFIX + "MODELS"] or instance / "models"
    # Not as text: a `?` in the folder's name would end its path.
    beside = URL.create("sqlite", database=str(instance / "ezstems.sqlite3"))
    values[PREFIX + "DATABASE_URL"] = values[PREFIX + "DATABASE_URL"] or beside
    return values


def table() -> str:
    """Print the settings as the Markdown table of `docs/settings.md`."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for setting in (INSTANCE, *SETTINGS):
        default = "" if setting.default in (None, ()) else f"`{setting.default}`"
        rows.append(f"| `{PREFIX}{setting.name}` | {default} | {setting.help} |")
    return "\n".join(rows)


def _parse(setting: Setting, raw: Any) -> Any:
    try:
        return setting.parse(raw)
    except ValueError as error:
        shown = hide_secrets(str(raw)) if setting.name.endswith("_URL") else raw
        raise ConfigurationError(f"{PREFIX}{setting.name}={shown!r} {error}") from None


def _file(location: Path) -> dict[str, Any]:
    if not location.exists():
        return {}
    try:
        names = runpy.run_path(str(location))
    except (Exception, SystemExit) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigurationError(f"{location} can't be read: {told}") from error
    return {name: value for name, value in names.items() if name.startswith(PREFIX)}
