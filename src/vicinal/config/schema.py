"""The JSON Schema of a study file, so that editors complete and check it, and its nodes by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vicinal.config.load import EXTENDS, packaged_studies
from vicinal.config.nodes import study_schema

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_file_schema() -> dict[str, Any]:
    """The JSON Schema of a study file: of what may stand in it, `extends` included.

    Nothing is required but a name for every arm: any other key may come from the study that it extends, or as KEY=VALUE. Where
    it extends one, null takes a mapping out. What two keys must be together is for `load_study` to say.
    """
    schema = study_schema()
    for name, part in {"": schema, **schema["$defs"]}.items():
        if name != "ArmSpec":
            part.pop("required", None)
            _allow_null(part, schema["$defs"])
    extends = {
        "description": "the study to start from: a packaged one, or a YAML file beside this one",
        "anyOf": [{"enum": list(packaged_studies())}, {"type": "string"}],
    }
    schema["properties"] = {EXTENDS: extends, **schema["properties"]}
    seeds = schema["properties"]["seeds"]
    seeds |= {"anyOf": [seeds["items"], {key: seeds.pop(key) for key in ("type", "items", "minItems")}]}
    return {"$schema": _DIALECT, **schema, "title": "A vicinal study"}


def _allow_null(part: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    """null wherever a mapping stands in a mapping."""
    for kind in ("properties", "patternProperties"):
        for key, value in part.get(kind, {}).items():
            if "patternProperties" in value:
                _allow_null(value, definitions)
                value["additionalProperties"] = False  # pydantic leaves what is no name to itself
            if _is_mapping(value, definitions):
                part[kind][key] = {"anyOf": [value, {"type": "null"}]}


def _is_mapping(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    name = value.get("$ref", "").rpartition("/")[2]
    return value.get("type") == "object" or bool(name and definitions[name].get("type") == "object")
