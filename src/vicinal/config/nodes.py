"""The JSON Schema of a `StudySpec` and the way into it, a key at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vicinal.config.study import StudySpec


def study_schema() -> dict[str, Any]:
    """The JSON Schema of a whole study, arms in their flat form."""
    return StudySpec.model_json_schema()


class Node:
    """A place in a JSON Schema, with what may stand there.

    Args:
        schema: the whole, with its $defs.
        part: of it; default: all.
    """

    def __init__(self, schema: Mapping[str, Any], part: Mapping[str, Any] | None = None) -> None:
        self._schema = schema
        self._shapes = list(self._resolved(schema if part is None else part))

    @property
    def keys(self) -> list[str]:
        """The keys that a mapping here may have; none where no mapping may stand here, or one with any keys."""
        return [key for shape in self._shapes for key in shape.get("properties", {})]

    @property
    def takes_list(self) -> bool:
        """Whether a list may stand here."""
        return any(shape.get("type") == "array" for shape in self._shapes)

    @property
    def takes_single(self) -> bool:
        """Whether anything but a list or null may stand here."""
        return any(shape.get("type") not in ("array", "null") for shape in self._shapes)

    def below(self, key: str | int) -> Node | None:
        """The place of a key or of a list's item; None where there is none."""
        for shape in self._shapes:
            if isinstance(key, int) and shape.get("type") == "array":
                fixed = shape.get("prefixItems", [])
                return Node(self._schema, fixed[key] if key < len(fixed) else shape.get("items", {}))
            if key in shape.get("properties", {}):
                return Node(self._schema, shape["properties"][key])
            for values in shape.get("patternProperties", {}).values() if isinstance(key, str) else ():
                return Node(self._schema, values)  # of a mapping by names: whether a name is one is told by itself
            if isinstance(key, str) and isinstance(shape.get("additionalProperties"), Mapping):
                return Node(self._schema, shape["additionalProperties"])
        return None

    def _resolved(self, part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Every shape that a value may have, references followed."""
        if "$ref" in part:
            yield from self._resolved(self._schema["$defs"][part["$ref"].rpartition("/")[2]])
        elif "anyOf" in part:
            for choice in part["anyOf"]:
                yield from self._resolved(choice)
        else:
            yield part
