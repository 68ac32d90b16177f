"""The two bodies of the API, success and error, and how a date stands in them."""

from datetime import datetime
from typing import Any

from flask import Response, jsonify


def success(data: Any) -> Response:
    """Answer with data."""
    return jsonify(success=True, data=data)


def message(text: str) -> Response:
    """Answer with a message alone."""
    return jsonify(success=True, message=text)


def error(status: int, title: str, text: str) -> Response:
    """Answer with an error: a short title, and what to do about it."""
    response = jsonify(error=title, message=text)
    response.status_code = status
    return response


def timestamp(moment: datetime) -> str:
    """Write a column's UTC time as the contract does."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
