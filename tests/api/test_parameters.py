"""The table of what a separation may be asked for, and that API, website, command and database follow it."""

import inspect
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from ezstems.audio.parameters import PARAMETERS
from ezstems.audio.separate import CUTOFFS, STEMS, Separator
from ezstems.cli import cli
from ezstems.errors import BadInput
from ezstems.jobs.events import record_event
from ezstems.models import Job
from ezstems.web.api.upload import chosen
from ezstems.web.api.upload_form import FIELDS
from tests.conftest import Account
from tests.support.servers import ROOT
from tests.support.sessions import log_in

SETTINGS = {"EZSTEMS_CUTOFF": "16kHz"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_whole(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter.label and all(parameter.choices) and all(parameter.choices.values())
    assert set(parameter.other_names.values()) <= set(parameter.choices)
    assert all(word == word.lower() for word in parameter.other_names)
    for choice in parameter.choices:
        assert parameter.parse(f" {choice.upper()}\n", SETTINGS) == parameter.kind(choice)
    for junk in ("junk", "\N{KELVIN SIGN}", "2" * 100):
        with pytest.raises(BadInput, match=f"^{name}='.{{1,64}}' must be "):
            parameter.parse(junk, SETTINGS)


def test_the_values_and_the_defaults() -> None:
    assert [*PARAMETERS["stems"].choices] == [str(count) for count in STEMS]
    assert tuple(PARAMETERS["cutoff"].choices) == CUTOFFS
    assert chosen({"stems": "4"}) == {"stems": 4, "cutoff": "full", "output": "wav"}
    assert chosen({"stems": "4", "cutoff": " "}, SETTINGS)["cutoff"] == "16kHz"
    assert chosen({"stems": "4", "cutoff": "11000"}, SETTINGS)["cutoff"] == "11kHz"
    with pytest.raises(BadInput, match="^stems='' must be 2, 4 or 5.$"):
        chosen({})


def test_the_log_has_no_other_field_of_their_names() -> None:
    taken = {*vars(logging.makeLogRecord({})), "message", *inspect.signature(record_event).parameters}
    assert not taken & set(PARAMETERS)


def test_who_takes_parameters_takes_these(client: FlaskClient, account: Account) -> None:
    assert set(PARAMETERS) < set(FIELDS)
    assert set(PARAMETERS) <= set(Job.__table__.columns.keys())
    assert set(PARAMETERS) <= set(Separator.__call__.__annotations__)
    told = CliRunner().invoke(cli, ["separate", "--help"]).output
    log_in(client, account.email)
    page = client.get("/upload").text
    row = next(line for line in Path(ROOT / "README.md").read_text().splitlines() if "/api/v1/upload.php` |" in line)
    for name, parameter in PARAMETERS.items():
        assert f"--{name} [{'|'.join(parameter.choices)}]".lower() in told.lower()
        assert f'<select id="{name}" name="{name}">' in page and f"`{name}`" in row
        assert all(f'<option value="{choice}"' in page for choice in parameter.choices)
