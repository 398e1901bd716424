"""A run as trackers are told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class TrackerRun(NamedTuple):
    """A run as trackers are told of it."""

    name: str  # of its folder
    config: Mapping[str, Any]  # plain values, as spec.json has them


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str | float | int | bool]:
    """A run's configuration with dotted names and plain values."""
    found: dict[str, str | float | int | bool] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, str | float | int | bool):
            found[f"{prefix}{key}"] = value
        elif isinstance(value, Sequence):
            found[f"{prefix}{key}"] = str(list(value))
    return found
