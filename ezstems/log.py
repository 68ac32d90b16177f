"""The log: one line an event on standard error, plain or JSON; nothing from outside can forge or break one."""

import io
import json
import logging
import logging.config
from datetime import datetime, timezone
from typing import Any

# Of a message or a field. What is longer came from outside, or is a library's.
MAX_CHARACTERS = 2000
# Of a stack: its end says what happened.
MAX_LINES = 100
# What the logging module itself puts into a record; the rest was given as `extra`.
_OWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def configure(level: str, form: str = "plain") -> None:
    """Send every logger to standard error from the given severity on, as plain lines or as JSON."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"request": {"()": "ezstems.web.request_log.RequestIdFilter"}},
            "formatters": {"line": {"()": f"ezstems.log.{form.capitalize()}"}},
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "stream": _stderr(),
                    "filters": ["request"],
                    "formatter": "line",
                },
            },
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            # Libraries that tell their own life story at `info`.
            "loggers": {name: {"level": "WARNING"} for name in ("alembic", "tensorflow", "absl", "urllib3")},
        }
    )
    logging.captureWarnings(True)


def _stderr() -> io.TextIOWrapper:
    # Each line is a single write, so that the lines of several processes don't mix.
    raw = io.FileIO(2, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)


def escaped(text: str) -> str:
    """Return text as printable characters of one line, cut when it is very long."""
    cut = text[:MAX_CHARACTERS]
    if not cut.isprintable():
        cut = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)
    return cut if len(text) <= MAX_CHARACTERS else f"{cut}... ({len(text)} characters)"


def _plain(value: Any) -> Any:
    """Return a field as JSON has it."""
    if isinstance(value, dict):
        return {escaped(str(name)): _plain(each) for name, each in value.items()}
    return value if isinstance(value, int | float) else escaped(str(value))


class Plain(logging.Formatter):
    """Write a line to read: time, severity, logger, request id, message; a stack below it, set in."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        request_id = escaped(vars(record).get("request_id", "-"))
        message = escaped(record.getMessage())
        line = f"{self.formatTime(record)} {record.levelname} {record.name} [{request_id}] {message}"
        return "\n    ".join((line, *self.stack(record)))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time in UTC, as ISO 8601 has it."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def stack(self, record: logging.LogRecord) -> list[str]:
        """Return the lines of the record's stack, if it has one."""
        stack = self.formatException(record.exc_info) if record.exc_info else record.stack_info or ""
        return [escaped(line) for line in stack.splitlines()[-MAX_LINES:]]


class Json(Plain):
    """Write a JSON object for a program to read, with what the record bears beside its message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's object on one line."""
        fields: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": escaped(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _OWN and value not in (None, "-"):
                fields[name] = _plain(value)
        if stack := self.stack(record):
            fields["stack"] = "\n".join(stack)
        return json.dumps(fields)
