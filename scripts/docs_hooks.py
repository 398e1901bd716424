"""What the docs site makes while it is built: the study file's reference from its schema, and equations as MathML.

mkdocs calls these functions by their names (`hooks` in mkdocs.yml). Links from pages to files of the repository, which are no pages,
become links to where the repository is published.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from latex2mathml.converter import convert

STUDY_FILE = "reference/study-file.md"
_INTRODUCTION = """# The study file

Every key that a study file may have, with its default and its bounds, made from the schema that `vicinal schema` prints.
Any of them can be given on the command line by its dotted path: `student.epochs=10`, `seeds=0,1,2`,
`measures.vicinity.pairs=500`. An unknown key is refused with the allowed ones. Which keys go together is said when a study
is read.
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    from vicinal.config import study_file_schema

    files.append(File.generated(config, STUDY_FILE, content=study_file_page(study_file_schema())))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Equations between $$ and $$ become MathML, which browsers draw by themselves."""
    drawn = re.sub(r"\$\$(.+?)\$\$", lambda m: _math(m[1]), markdown, flags=re.DOTALL)
    return re.sub(r"^::: ([\w.]+)$", lambda m: _with_members(m[1]), drawn, flags=re.MULTILINE)


def _with_members(module: str) -> str:
    """The mark for a module's reference, of the names that its face exports."""
    names = sorted(importlib.import_module(module).__all__, key=str.lower)
    listed = ", ".join(
        name for name in names if not isinstance(getattr(importlib.import_module(module), name), int | str)
    )
    return f"::: {module}\n    options:\n      show_root_heading: false\n      show_root_toc_entry: false\n      members: [{listed}]\n"


def _math(latex: str) -> str:
    return f"\n{convert(' '.join(latex.split()), display='block')}\n"


def study_file_page(schema: Mapping[str, Any]) -> str:
    """The reference of a study file as Markdown: a table for each mapping, in the order in which they are met."""
    sections = "\n".join(_sections(schema))
    return f"{_INTRODUCTION}\n{sections}"


def _sections(schema: Mapping[str, Any]) -> Iterator[str]:
    waiting, met = [("the study", "", schema)], set[str]()
    while waiting:
        title, about, part = waiting.pop(0)
        yield f"## {title}\n\n{about}\n\n| key | takes | default | what it is |\n| --- | --- | --- | --- |"
        for key, value in part["properties"].items():
            default = f"`{_plain(value['default'])}`" if value.get("default") not in (None, "") else ""
            yield f"| `{key}` | {_cell(_takes(value, schema))} | {_cell(default)} | {_cell(value.get('description', ''))} |"
            for name in _referenced(value):
                definition = _mapping(schema["$defs"][name])
                if name not in met and definition is not None:
                    met.add(name)
                    waiting.append((_title(name), definition.get("description", ""), definition))
        yield ""


def _mapping(definition: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a definition says of a mapping, where one may stand there."""
    shapes = [definition, *definition.get("anyOf", ())]
    return next((shape for shape in shapes if "properties" in shape), None)


def _title(name: str) -> str:
    """A section's title by the name of its class."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name.removesuffix("Spec")).lower()


def _anchor(name: str) -> str:
    return _title(name).replace(" ", "-")


def _referenced(value: Any) -> Iterator[str]:
    """Names of the definitions that a part of a schema refers to, in their order."""
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield str(value["$ref"]).rpartition("/")[2]
        for inner in value.values():
            yield from _referenced(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _referenced(inner)


def _takes(value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What may stand at a place, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        definition, link = schema["$defs"][name], f"[{_title(name)}](#{_anchor(name)})"
        if "properties" in definition:
            return link
        others = [_takes(part, schema) for part in definition.get("anyOf", ()) if "properties" not in part]
        return " or ".join([*others, link]) if _mapping(definition) is not None else _takes(definition, schema)
    if "anyOf" in value or "oneOf" in value:
        parts = [_takes(part, schema) for part in value.get("anyOf", value.get("oneOf")) if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))  # null takes out what a study that is extended says
    if "enum" in value:
        return ", ".join(f"`{_plain(each)}`" for each in value["enum"])
    if "const" in value:
        return f"`{_plain(value['const'])}`"
    kind = value.get("type", "anything")
    if kind == "array":
        fixed = value.get("prefixItems")
        inner = ", ".join(_takes(part, schema) for part in fixed) if fixed else _takes(value.get("items", {}), schema)
        return f"a list of {inner}"
    if kind == "object":
        patterns = [*value.get("patternProperties", {}).values()]
        more = value.get("additionalProperties")
        inner_of = patterns[0] if patterns else more if isinstance(more, Mapping) else None
        return f"names, each with {_takes(inner_of, schema)}" if inner_of else "a mapping"
    words = {
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "null": "null",
    }
    return words.get(kind, kind) + _bounds(value)


def _bounds(value: Mapping[str, Any]) -> str:
    """Bounds of a number in brackets."""
    low, above = value.get("minimum"), value.get("exclusiveMinimum")
    high, below = value.get("maximum"), value.get("exclusiveMaximum")
    said = [
        f"{sign} {number:,}"
        for sign, number in (("≥", low), (">", above), ("≤", high), ("<", below))
        if number is not None
    ]
    return f" ({', '.join(said)})" if said else ""


def _plain(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | dict) and not value:
        return "[]" if isinstance(value, list) else "{}"
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
