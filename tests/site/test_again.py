"""A song's kept upload separated again from its page."""

import re
from collections.abc import Callable

from flask.testing import FlaskClient

from ezstems.jobs import Desk
from ezstems.models import Job
from tests.conftest import Account
from tests.support.multipart import error_of
from tests.support.sessions import log_in, token

JSON = {"Accept": "application/json"}


def chosen_on(page: str) -> list[str]:
    return re.findall(r'<option value="([^"]+)" selected>', page[page.index("Separate again") :])


def test_a_song_is_separated_again_with_other_choices(
    session: FlaskClient, done: Callable[..., Job], finished: Callable[[str], Job]
) -> None:
    job = done(stems="2", output="flac")
    page = session.get(f"/songs/{job.id}").text
    assert chosen_on(page) == ["2", "full", "flac"], "as the song is"
    form = {"csrf_token": token(session, f"/songs/{job.id}"), "stems": "4", "cutoff": "16kHz", "output": "wav"}
    answer = session.post(f"/songs/{job.id}/again", data=form)
    assert answer.status_code == 303
    other = finished(answer.headers["Location"].rpartition("/")[2])
    assert (other.stems, other.cutoff, other.output) == (4, "16kHz", "wav")
    assert (other.original_name, other.sha256, other.user_id) == (job.original_name, job.sha256, job.user_id)
    assert session.get(f"/songs/{job.id}").status_code == 200
    script = session.post(f"/songs/{job.id}/again", data=form, headers=JSON)
    assert script.json["data"]["url"] == f"/songs/{script.json['data']['id']}"


def test_what_is_wrong_is_told_and_nothing_begins(
    session: FlaskClient, done: Callable[..., Job], make_account: Callable[..., Account], desk: Desk
) -> None:
    job = done()
    place, form = f"/songs/{job.id}/again", {"csrf_token": token(session, "/songs")}
    for fields in ({}, {"stems": "3"}, {"stems": "2", "output": "exe"}, {"stems": "2", "cutoff": "x"}):
        assert error_of(session.post(place, data=form | fields, headers=JSON), 400)
    assert error_of(session.post(place, data={"stems": "2"}, headers=JSON), 400), "without the token"
    session.delete_cookie("session")
    assert log_in(session, make_account("other@example.com").email).status_code == 302
    form = {"csrf_token": token(session, "/songs"), "stems": "2"}
    assert error_of(session.post(place, data=form, headers=JSON), 404)


def test_without_a_kept_upload_there_is_no_button(
    make_app: Callable[..., object], session: FlaskClient, app: object, done: Callable[..., Job]
) -> None:
    app.config["EZSTEMS_KEEP_UPLOADS"] = "off"  # type: ignore[attr-defined]
    job = done()
    assert "Separate again" not in session.get(f"/songs/{job.id}").text
    form = {"csrf_token": token(session, "/songs"), "stems": "2"}
    assert "not kept" in str(error_of(session.post(f"/songs/{job.id}/again", data=form, headers=JSON), 400))
