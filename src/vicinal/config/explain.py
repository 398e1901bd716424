"""Validation errors in one line: the key by its path, as the user wrote it, and what is allowed there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from vicinal.config.base import NAME_PATTERN
from vicinal.config.nodes import Node, study_schema
from vicinal.config.study import DEVICE_PATTERN

# By pattern, what may stand there.
_NAMES_OF = {
    NAME_PATTERN: "is letters, digits and _ . + - and begins with a letter or digit",
    DEVICE_PATTERN: "is auto, cpu, mps, cuda or cuda:N",
}
Location = tuple[int | str, ...]
LOOKED_AT = 50  # mistakes: several may have the same words, and thousands would take minutes
MOST_MISTAKES = 5  # told at once
MOST_CHARACTERS, MOST_WORDS = 100, 600  # characters of a value that is quoted, and of a message
# Where pydantic speaks of Python, in the words of a study file.
_WORDS = {
    "string_type": "is text; a number, true, false or null that is meant as a name goes in quotes",
    "string_unicode": "has a character that no file can hold",
    "finite_number": "has to be a finite number",
    "recursion_loop": "holds itself",
    "too_short": "give at least one",
    "tuple_type": "give a list",
    "dict_type": "give a mapping of keys",
    "model_type": "give a mapping of keys",
    "model_attributes_type": "give a mapping of keys",
    "invalid_key": "keys are words, not numbers",
}


def explain(error: ValidationError, study: Mapping[str, Any]) -> str:
    """All of a study's mistakes in one line.

    Args:
        error: of validating `study`.
        study: its plain values, which say what its arms are called.
    """
    problems = error.errors(include_url=False)
    schema = study_schema()
    lines = [
        _line(problem, schema, study)
        for problem in problems[:LOOKED_AT]
        if not (problem["type"] == "too_short" and _is_told_by_an_item(problem["loc"], problems))
    ]
    told = list(dict.fromkeys(lines))
    left = len(told) - MOST_MISTAKES + max(len(problems) - LOOKED_AT, 0)
    more = [f"and {left:,} more"] if left > 0 else []
    return "; ".join([*told[:MOST_MISTAKES], *more])


def shortened(value: Any, most: int = MOST_CHARACTERS) -> str:
    """Text as a message takes it: on one line, and no longer than `most`."""
    text = str(value)
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _is_told_by_an_item(loc: Location, problems: list[Any]) -> bool:
    """Whether a list is short because an item of it is wrong, which is told by itself."""
    return any(len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in problems)


def _line(problem: Any, schema: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    unknown = problem["type"] == "extra_forbidden"
    path, allowed = _place(problem["loc"], schema, study, unknown)
    message = shortened(problem["msg"].removeprefix("Value error, "), MOST_WORDS)
    if unknown:
        close = difflib.get_close_matches(shortened(problem["loc"][-1]), allowed, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"unknown key {path!r}; {hint}allowed here: {', '.join(allowed)}"
    given = problem["input"]
    if given is None and problem["type"] not in ("missing", "value_error"):
        return f"{path} has no value; give one, or leave the key out"
    if problem["type"] == "missing":
        return f"{path} is required; give it in the file or as {path}=VALUE"
    pattern = problem.get("ctx", {}).get("pattern")
    message = _NAMES_OF.get(pattern) or _WORDS.get(problem["type"], message)
    if message.startswith(("Input", "String", "Tuple", "List")):
        message = message[0].lower() + message[1:]
    told = isinstance(given, str | int | float) and not isinstance(given, bool) and repr(given) not in message
    shown = f" (given: {shortened(repr(given))})" if told else ""
    return f"{path}: {message}{shown}" if path else message


def _place(loc: Location, schema: Mapping[str, Any], study: Mapping[str, Any], unknown: bool) -> tuple[str, list[str]]:
    """The dotted path of an error and the keys allowed in the mapping that holds it.

    What the schema has no place for is pydantic's own: which of several forms it tried, and the objective that an arm holds.
    """
    path: list[str] = []
    value: Any
    node, value = Node(schema), study
    for depth, part in enumerate(loc):
        below = node.below(part)
        if unknown and depth == len(loc) - 1:
            return ".".join([*path, shortened(part)]), node.keys
        if below is None or (isinstance(part, int) and not isinstance(value, list | tuple)):
            continue  # the latter: a single value that is read as a list of one
        path.append(_arm(value, part) if isinstance(part, int) and path == ["arms"] else shortened(part))
        node, value = below, _item(value, part)
    return ".".join(path), node.keys


def _item(value: Any, key: int | str) -> Any:
    if isinstance(value, list | tuple):
        return value[key] if isinstance(key, int) and key < len(value) else None
    return value.get(key) if isinstance(value, Mapping) else None


def _arm(arms: Sequence[Any], position: int) -> str:
    """An arm by its name; with its position where others share it, by its position where it has none."""
    names = [arm.get("name") if isinstance(arm, Mapping) else arm for arm in arms]
    name = names[position]
    if not isinstance(name, str):
        return str(position)
    return f"{shortened(name)}[{position}]" if names.count(name) > 1 else shortened(name)
