"""Spleeter's configurations, with what a folder of weights changes in them."""

from typing import Any

from ezstems.errors import ConfigurationError
from ezstems.weights.folders import Weights

# Spleeter's names of its configurations by cutoff; the two differ in nothing but F, the bins that the network sees
CONFIGURATIONS = {"11kHz": "spleeter:{}stems", "16kHz": "spleeter:{}stems-16kHz"}
# What the signal chain, and not the weights, decides.
FIXED = ("T", "F", "n_channels", "sample_rate", "frame_length", "frame_step")
LEVELS = 6  # of the U-Net


def configuration(weights: Weights, cutoff: str) -> dict[str, Any]:
    """Return Spleeter's configuration of as many stems with the weights' overrides merged over it.

    Raises:
        ConfigurationError: the overrides make no sense.
    """
    from spleeter.utils.configuration import load_configuration

    base = load_configuration(CONFIGURATIONS[cutoff].format(weights.stems))
    params = _merged(base, weights.overrides)
    params["MWF"] = False
    if wrong := _wrong(params, base):
        raise ConfigurationError(f"{weights.label}: 'config.json' makes no sense: {wrong}")
    return params


def _merged(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both else value
    return merged


def _wrong(params: dict[str, Any], base: dict[str, Any]) -> str:
    """Say what of a configuration can't be meant; nothing where all can."""
    for name in FIXED:
        if params[name] != base[name]:
            return f"{name}={params[name]!r} must be {base[name]}"
    instruments, exponent, model = (params[name] for name in ("instrument_list", "separation_exponent", "model"))
    if not isinstance(instruments, list) or sorted(map(str, instruments)) != sorted(base["instrument_list"]):
        return f"instrument_list={instruments!r} must hold {', '.join(base['instrument_list'])}"
    if not isinstance(exponent, (int, float)) or not 0 < exponent < 100:
        return f"separation_exponent={exponent!r} must be a number above 0"
    if not isinstance(model, dict) or not isinstance(model.get("type"), str) or not isinstance(model["params"], dict):
        return f"model={model!r} must be an object with a type and params"
    filters = model["params"].get("conv_n_filters")
    if filters is not None and not _are_filters(filters):
        return f"conv_n_filters={filters!r} must be {LEVELS} numbers above 0"
    return ""


def _are_filters(filters: Any) -> bool:
    numbers = isinstance(filters, list) and len(filters) == LEVELS
    return numbers and all(type(count) is int and 0 < count <= 4096 for count in filters)
