"""The log: one line an event on standard error, bearing the request's id."""

import logging.config


def configure(level: str) -> None:
    """Send every logger to standard error from the given severity on."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"request": {"()": "ezstems.web.requests.RequestIdFilter"}},
            "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "filters": ["request"], "formatter": "line"},
            },
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            # Libraries that tell their own life story at `info`.
            "loggers": {name: {"level": "WARNING"} for name in ("alembic", "tensorflow", "absl", "urllib3")},
        }
    )
