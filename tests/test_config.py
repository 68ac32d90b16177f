"""The settings: where they come from, and what is refused."""

import logging
from pathlib import Path
from typing import Any

import pytest

from ezstems import config, create_app
from ezstems.audio.separate import CUTOFFS
from ezstems.errors import ConfigurationError

README = Path(__file__).resolve().parent.parent / "README.md"


def test_defaults_lie_in_the_instance_folder(tmp_path: Path) -> None:
    values = config.load(tmp_path, {})
    assert values["EZSTEMS_BIND"] == "127.0.0.1:8000"
    assert values["EZSTEMS_MODELS"] == tmp_path / "models"
    assert values["EZSTEMS_DATABASE_URL"] == f"sqlite:///{tmp_path}/ezstems.sqlite3"
    assert (values["EZSTEMS_RATE_LIMIT"], values["EZSTEMS_RATE_WINDOW_SECONDS"]) == (100, 60)


def test_every_default_passes_its_own_parser() -> None:
    for setting in config.SETTINGS:
        if setting.default is not None:
            assert setting.parse(setting.default) == setting.default, setting.name


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("EZSTEMS_THREADS = 7\nEZSTEMS_WORKERS = 3\nhelper = object()\n")
    values = config.load(tmp_path, {"EZSTEMS_THREADS": "9"})
    assert (values["EZSTEMS_THREADS"], values["EZSTEMS_WORKERS"]) == (9, 3)


@pytest.mark.parametrize(
    ("name", "raw", "rule"),
    [
        ("THREADS", "lots", "must be a whole number from 2 to 1024"),
        ("THREADS", "1", "must be a whole number from 2 to 1024"),
        ("THREADS", "2.5", "must be a whole number from 2 to 1024"),
        ("THREADS", "", "must be a whole number from 2 to 1024"),
        ("WORKERS", "0", "must be a whole number from 1 to 64"),
        ("RETENTION_HOURS", "nan", "must be a number from 0.001 to 1e+06"),
        ("RETENTION_HOURS", "-1", "must be a number from 0.001 to 1e+06"),
        ("MODEL", "best", "must be one of auto, official, builtin"),
        ("CUTOFF", "12kHz", "must be one of full, 11kHz, 16kHz"),
        ("CUTOFF", "", "must be one of full, 11kHz, 16kHz"),
        ("BIND", " ", "must not be empty"),
        ("BIND", "127.0.0.1:99999", "must be HOST:PORT with a port up to 65535, or unix:PATH"),
        ("BIND", "localhost", "must be HOST:PORT with a port up to 65535, or unix:PATH"),
        ("DATABASE_URL", "junk", "must be an SQLAlchemy URL of a database whose driver is installed"),
        ("DATABASE_URL", "postgresql://a/b", "must be an SQLAlchemy URL of a database whose driver is installed"),
        ("CORS_ORIGINS", "no origin", "must be origins like https://example.com, or *"),
        ("CORS_ORIGINS", "https://a.b/", "must be origins like https://example.com, or *"),
        ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
    ],
)
def test_junk_is_refused_with_the_value_and_the_rule(tmp_path: Path, name: str, raw: str, rule: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.load(tmp_path, {f"EZSTEMS_{name}": raw})
    assert str(caught.value) == f"EZSTEMS_{name}={raw!r} {rule}"


def test_words_in_any_case(tmp_path: Path) -> None:
    for raw in ("16KHZ", " 16khz ", "16kHz"):
        assert config.load(tmp_path, {"EZSTEMS_CUTOFF": raw})["EZSTEMS_CUTOFF"] == "16kHz"
    for cutoff in CUTOFFS:
        assert config.load(tmp_path, {"EZSTEMS_CUTOFF": cutoff})["EZSTEMS_CUTOFF"] == cutoff
    assert config.load(tmp_path, {})["EZSTEMS_CUTOFF"] == CUTOFFS[0] == "full"


@pytest.mark.parametrize("bind", ["0.0.0.0:80", "[::1]:8000", ":8000", "unix:/run/ezstems.sock"])
def test_addresses(tmp_path: Path, bind: str) -> None:
    assert config.load(tmp_path, {"EZSTEMS_BIND": bind})["EZSTEMS_BIND"] == bind


@pytest.mark.parametrize("folder", ["/dev/null/x", "/proc/x"])
def test_an_instance_folder_that_cannot_be_made_is_one_line(folder: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the instance folder {folder} must be writable"):
        create_app({"EZSTEMS_INSTANCE": folder})


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("EZSTEMS_THREADS = \n")
    with pytest.raises(ConfigurationError, match=r"config\.py can't be read: SyntaxError"):
        config.load(tmp_path, {})


def test_an_unknown_name_is_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config.load(tmp_path, {"EZSTEMS_TREADS": "4"})
    assert "EZSTEMS_TREADS is no setting" in caplog.text


@pytest.mark.parametrize("raw", ["https://a.example, https://b.example", ["https://a.example", "https://b.example"]])
def test_lists(tmp_path: Path, raw: Any) -> None:
    values = config.load(tmp_path, {"EZSTEMS_CORS_ORIGINS": raw})
    assert values["EZSTEMS_CORS_ORIGINS"] == ("https://a.example", "https://b.example")


def test_the_readme_holds_the_table() -> None:
    assert config.table() in README.read_text()
