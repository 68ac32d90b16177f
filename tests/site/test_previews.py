"""A song's previews from the session: what there are, and their chunks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ezstems.jobs import current_desk
from ezstems.jobs.preview_maker import PreviewMaker
from ezstems.web.site import previews
from tests.conftest import Account
from tests.support.multipart import error_of
from tests.support.sessions import log_in

JSON = {"Accept": "application/json"}


def test_previews(
    app: Flask, client: FlaskClient, account: Account, done: Any, make_account: Callable[..., Account],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert log_in(client, account.email).status_code == 302
    job = done()
    url = f"/songs/{job.id}/previews"
    none_yet = client.get(url, headers=JSON)
    assert (none_yet.status_code, none_yet.json["data"]) == (200, {"contents": None, "soon": False}), "none are made"
    app.config["EZSTEMS_PREVIEWS"] = "on"
    monkeypatch.setattr(previews, "AWAITED_FOR", timedelta(hours=1))
    assert client.get(url, headers=JSON).json["data"] == {"contents": None, "soon": True}
    monkeypatch.setattr(previews, "AWAITED_FOR", timedelta())
    assert client.get(url, headers=JSON).json["data"] == {"contents": None, "soon": False}
    monkeypatch.undo()
    assert error_of(client.get(f"{url}/vocals/0", headers=JSON), 404)
    with app.app_context():
        archive = current_desk()._archive
    PreviewMaker(app, archive, lambda: True, lambda: False).make(job.number)
    data = client.get(url, headers=JSON).json["data"]
    sounds = data["contents"]["sounds"]
    assert not data["soon"]
    assert list(sounds) == ["vocals", "accompaniment", "original"]
    for name in sounds:
        chunk = client.get(f"{url}/{name}/0")
        assert (chunk.status_code, chunk.mimetype, chunk.data[:4]) == (200, "audio/ogg", b"OggS")
        again = client.get(f"{url}/{name}/0", headers={"If-None-Match": chunk.headers["ETag"]})
        assert again.status_code == 304
    for missing in ("vocals/1", "drums/0", "previews.json/0"):
        assert "no chunk" in error_of(client.get(f"{url}/{missing}", headers=JSON), 404)
    client.get("/logout")
    other = app.test_client()
    assert log_in(other, make_account("other@example.com").email).status_code == 302
    for path in ("", "/vocals/0"):
        assert error_of(other.get(url + path, headers=JSON), 404)
    anonymous = app.test_client()
    assert anonymous.get(f"{url}/vocals/0").status_code == 302


@pytest.mark.parametrize("number", ["-1", "x", "99999999999999999999"])
def test_numbers_of_no_chunk(client: FlaskClient, account: Account, done: Any, number: str) -> None:
    assert log_in(client, account.email).status_code == 302
    assert client.get(f"/songs/{done().id}/previews/vocals/{number}", headers=JSON).status_code == 404
