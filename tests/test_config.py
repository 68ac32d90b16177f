"""The settings: where they come from, and what is refused."""

import logging
from pathlib import Path
from typing import Any

import pytest

from ezstems import config, create_app
from ezstems.audio.separate import CUTOFFS
from ezstems.errors import ConfigurationError
from ezstems.remote import VARIABLES

PAGE = Path(config.__file__).parent / "docs" / "settings.md"


def test_defaults_lie_in_the_instance_folder(tmp_path: Path) -> None:
    values = config.load(tmp_path, {})
    assert values["EZSTEMS_BIND"] == "127.0.0.1:8000"
    assert values["EZSTEMS_MODELS"] == tmp_path / "models"
    assert str(values["EZSTEMS_DATABASE_URL"]) == f"sqlite:///{tmp_path}/ezstems.sqlite3"
    assert (values["EZSTEMS_RATE_LIMIT"], values["EZSTEMS_RATE_WINDOW_SECONDS"]) == (100, 60)


@pytest.mark.parametrize("name", ["a?b", "a?mode=ro&x=y", "a#b", "a%41b", "a@b:c", "[a]*", "ä b"])
def test_the_database_lies_in_the_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    create_app({"EZSTEMS_INSTANCE": folder})
    assert (folder / "ezstems.sqlite3").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_every_default_passes_its_own_parser() -> None:
    for setting in config.SETTINGS:
        if setting.default is not None:
            assert setting.parse(setting.default) == setting.default, setting.name


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("EZSTEMS_THREADS = 7\nEZSTEMS_WORKERS = 3\nhelper = object()\n")
    values = config.load(tmp_path, {"EZSTEMS_THREADS": "9"})
    assert (values["EZSTEMS_THREADS"], values["EZSTEMS_WORKERS"]) == (9, 3)


BROKER = "must be the URL of a broker, like redis://HOST:PORT/0 or amqp://USER:PASSWORD@HOST:PORT//"


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
        ("BROKER_URL", "redis:", BROKER),
        ("BROKER_URL", "amqp:///", BROKER),
        ("BROKER_URL", "redis://a:port/0", BROKER),
        ("BROKER_URL", "sqs://a", BROKER),
        ("JOB_SECONDS", "0", "must be a whole number from 1 to 604800"),
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


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret_key.part").mkdir()
    with pytest.raises(ConfigurationError, match=f"must be writable: {tmp_path}/secret_key.part: Is a directory"):
        create_app({"EZSTEMS_INSTANCE": tmp_path})


@pytest.mark.parametrize("content", ["", " \n\t\n", "too short\n", "x" * 15])
def test_a_secret_key_that_is_none_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    key = tmp_path / "secret_key"
    key.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        create_app({"EZSTEMS_INSTANCE": tmp_path})
    assert str(caught.value).startswith(f"{key} must hold 16 bytes or more: ") and "\n" not in str(caught.value)
    assert key.read_text() == content
    key.write_text("x" * 16)
    assert create_app({"EZSTEMS_INSTANCE": tmp_path}).config["SECRET_KEY"] == b"x" * 16


def test_a_secret_key_that_lies_elsewhere_is_awaited_there(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance" / "secret_key").symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="secret_key: No such file or directory"):
        create_app({"EZSTEMS_INSTANCE": tmp_path / "instance"})
    assert not elsewhere.exists()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("EZSTEMS_THREADS = \n")
    with pytest.raises(ConfigurationError, match=r"config\.py can't be read: SyntaxError"):
        config.load(tmp_path, {})


def test_an_unknown_name_is_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config.load(tmp_path, {"EZSTEMS_TREADS": "4"})
    assert "EZSTEMS_TREADS is no setting" in caplog.text


def test_what_the_client_reads_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config.load(tmp_path, dict.fromkeys(VARIABLES, "x"))
    assert caplog.text == ""


@pytest.mark.parametrize("raw", ["https://a.example, https://b.example", ["https://a.example", "https://b.example"]])
def test_lists(tmp_path: Path, raw: Any) -> None:
    values = config.load(tmp_path, {"EZSTEMS_CORS_ORIGINS": raw})
    assert values["EZSTEMS_CORS_ORIGINS"] == ("https://a.example", "https://b.example")


def test_the_documentation_holds_the_table() -> None:
    assert config.table() in PAGE.read_text()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("BROKER_URL", "redis://:hidden@box:none/0", "redis://**@box:none/0"),
        ("BROKER_URL", "rediz://me:hid@den/x@box", "rediz://**@box"),
        ("BROKER_URL", "me:hidden@box", "**@box"),
        ("BROKER_URL", "rediz://box/0?password=hidden&a=b", "rediz://box/0?password=**&a=**"),
        ("DATABASE_URL", "postgres://me:hidden@box/songs", "postgres://**@box/songs"),
        ("DATABASE_URL", "postgres://box/songs?password=hidden", "postgres://box/songs?password=**"),
        ("STORAGE_URL", "s3://key:hidden@bucket", "s3://**@bucket"),
    ],
)
def test_a_url_that_is_refused_is_shown_without_its_secrets(tmp_path: Path, name: str, value: str, shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.load(tmp_path, {f"EZSTEMS_{name}": value})
    assert str(caught.value).startswith(f"EZSTEMS_{name}={shown!r} must be ") and "hid" not in str(caught.value)
