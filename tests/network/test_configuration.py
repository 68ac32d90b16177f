"""Spleeter's configurations, with what a folder of weights changes: what is merged, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from ezstems.errors import ConfigurationError
from ezstems.network.configuration import configuration
from ezstems.weights.folders import Weights


def test_configuration_is_spleeters_own_with_overrides(tmp_path: Path) -> None:
    plain = configuration(Weights("official", 4, tmp_path, {}), "11kHz")
    assert plain["model"]["params"] == {"conv_activation": "ELU", "deconv_activation": "ELU"}
    overrides = {"model": {"params": {"conv_n_filters": [1, 2, 3, 4, 5, 6]}}, "separation_exponent": 1}
    merged = configuration(Weights("builtin", 4, tmp_path, overrides), "16kHz")
    assert merged["model"]["params"] == plain["model"]["params"] | {"conv_n_filters": [1, 2, 3, 4, 5, 6]}
    assert (merged["separation_exponent"], merged["F"], merged["model"]["type"]) == (1, 1536, "unet.unet")
    assert configuration(Weights("official", 5, tmp_path, {}), "11kHz")["model"]["type"] == "unet.softmax_unet"


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ({"F": 1000}, "F=1000 must be 1024"),
        ({"T": 256}, "T=256 must be 512"),
        ({"n_channels": 1}, "n_channels=1 must be 2"),
        ({"instrument_list": ["vocals", "drums"]}, "must hold vocals, accompaniment"),
        ({"instrument_list": "vocals"}, "must hold vocals, accompaniment"),
        ({"separation_exponent": "2"}, "separation_exponent='2' must be a number"),
        ({"separation_exponent": 0}, "separation_exponent=0 must be a number"),
        ({"model": 3}, "model=3 must be an object"),
        ({"model": {"params": []}}, "must be an object with a type and params"),
        ({"model": {"type": None}}, "must be an object with a type and params"),
        ({"model": {"params": {"conv_n_filters": [1, 2, 3, 4, 5]}}}, "must be 6 numbers above 0"),
        ({"model": {"params": {"conv_n_filters": [1, 2, 3, 4, 5, 0]}}}, "must be 6 numbers above 0"),
        ({"model": {"params": {"conv_n_filters": [1, 2, 3, 4, 5, "6"]}}}, "must be 6 numbers above 0"),
        ({"model": {"params": {"conv_n_filters": [1, 2, 3, 4, 5, 10**9]}}}, "must be 6 numbers above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(overrides: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="^official 2stems: 'config.json' makes no sense: ") as error:
        configuration(Weights("official", 2, tmp_path, overrides), "11kHz")
    assert why in str(error.value)


def test_instruments_may_come_in_another_order(tmp_path: Path) -> None:
    order = ["accompaniment", "vocals"]
    found = Weights("official", 2, tmp_path, {"instrument_list": order})
    assert configuration(found, "11kHz")["instrument_list"] == order
