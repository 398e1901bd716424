"""KEY=VALUE on a study's plain values, in forms that every shell takes without quotes: `seeds=0,1,2`, `student.lr=1e-3`."""

from __future__ import annotations

import re
from typing import Any

from vicinal.config.explain import shortened
from vicinal.config.nodes import Node, study_schema
from vicinal.config.yaml_values import MAX_DEPTH, read_yaml
from vicinal.errors import UsageError


def apply_override(study: dict[str, Any], override: str) -> None:
    """Set one key of a study's plain values.

    Args:
        study: changed in place.
        override: dotted key, "=", and a YAML value. Commas make a list where the schema takes one at this key, and a single value
            is a list of one where it takes nothing else; elsewhere commas are text.

    Raises UsageError, in one line, for what is no KEY=VALUE, no YAML, or a key below a single value.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(
            f"{shortened(override)!r} is not a KEY=VALUE override (for example seeds=0,1,2 or student.epochs=10)"
        )
    parts = key.split(".")
    if len(parts) > MAX_DEPTH:
        raise UsageError(f"{shortened(key)}: a key has at most {MAX_DEPTH} parts")
    here: Any = study
    node: Node | None = Node(study_schema())
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        path = ".".join(parts[: depth + 1])
        where: str | int = part
        if isinstance(here, list):
            where = _list_position(here, part, path)
            if isinstance(here[where], str) and not last:
                here[where] = {"name": here[where]}
        elif isinstance(here, dict):
            if not last and here.get(part) is None:
                here[part] = {}
        else:
            raise UsageError(
                f"{shortened('.'.join(parts[:depth]))} holds a single value, so it has no key {shortened(part)!r}"
            )
        node = node and node.below(where)
        if last:
            here[where] = _read_value(text, f"the value of {shortened(key)}", node)
        else:
            here = here[where]


def _read_value(text: str, origin: str, node: Node | None) -> Any:
    """The value of a text at a place in the schema; None for a place that it does not have."""
    if node is None or not node.takes_list:
        return read_yaml(text, origin)
    items = _between_commas(text, origin) if "," in text else None
    if items is not None and (len(items) > 1 or text.rstrip().endswith(",")):
        return items
    value = read_yaml(text, origin)
    return value if node.takes_single or value is None or isinstance(value, list) else [value]


def _between_commas(text: str, origin: str) -> list[Any] | None:
    """The values between commas; None where the text is no such list, so that the text as it is has the better error."""
    if not re.search(r"""[\[{'"]""", text) and not all(part.strip() for part in text.removesuffix(",").split(",")):
        raise UsageError(f"{origin}: {shortened(repr(text))} has nothing between two commas, or before the first")
    try:
        items = read_yaml(f"[{text}]", origin)
    except UsageError:
        return None
    return items if isinstance(items, list) else None


def _list_position(items: list[Any], part: str, path: str) -> int:
    names = [item.get("name") if isinstance(item, dict) else item for item in items]
    if part in names:
        return names.index(part)
    if part in map(str, range(len(items))):
        return int(part)
    shown = shortened(", ".join(map(str, names)), 500)
    raise UsageError(f"{shortened(path)}: no such item; it is one of {shown} (or a position from 0)")
