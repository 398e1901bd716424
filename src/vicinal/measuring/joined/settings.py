"""What differs between studies before anything was trained: keys of their study files, versions and machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from vicinal.config import StudySpec
from vicinal.errors import UsageError

NO_SETTINGS = ("name", "title", "description")  # of a study file: what it is called
LONGEST = 90  # characters of a value
_ABSENT = object()


def setting_differences(specs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The keys of study files that are not the same everywhere, as `results.SettingDifference` has them.

    Arms and teachers are known by their names, whatever their order. Keys that an older version did not know have today's defaults.
    """
    return _differences([{k: v for k, v in _whole(spec).items() if k not in NO_SETTINGS} for spec in specs])


def environment_differences(environments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of versions and machines."""
    return _differences([dict(one) for one in environments])


def _whole(spec: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return StudySpec.model_validate(dict(spec)).model_dump(mode="json")
    except (ValidationError, UsageError):  # of a version that knew other keys
        return dict(spec)


def _differences(values: Sequence[Any], key: str = "") -> list[dict[str, Any]]:
    values = [_by_name(value) for value in values]
    if all(value == values[0] for value in values):
        return []
    if all(isinstance(value, dict) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        return [
            line
            for name in names
            for line in _differences(
                [value.get(name, _ABSENT) for value in values], f"{key}.{name}" if key else str(name)
            )
        ]
    return [{"key": key, "values": [_text(value) for value in values]}]


def _by_name(value: Any) -> Any:
    """A list of mappings that have names, as a mapping by name."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        found = {item["name"]: {k: v for k, v in item.items() if k != "name"} for item in value}
        return found if len(found) == len(value) else value
    return value


def _text(value: Any) -> str | None:
    if value is _ABSENT or value is None:
        return None
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if v is not None}
    found = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found if len(found) <= LONGEST else f"{found[: LONGEST - 1]}…"
