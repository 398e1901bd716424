"""Validation errors in one line: the key by its path, and what is allowed there."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from vicinal.config.study import StudySpec


def explain(error: ValidationError) -> str:
    lines: list[str] = []
    problems = error.errors(include_url=False)
    for problem in problems:
        within = [other for other in problems if len(other["loc"]) > len(problem["loc"])]
        if problem["type"] == "too_short" and any(
            other["loc"][: len(problem["loc"])] == problem["loc"] for other in within
        ):
            continue  # the list is short because an item of it is wrong, which is told by itself
        path, allowed = _walk(problem["loc"])
        kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
        if kind == "extra_forbidden":
            key = path.rpartition(".")[2]
            close = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            line = f"unknown key {path!r}; {hint}allowed here: {', '.join(allowed)}"
        elif kind == "missing":
            line = f"{path} is required; give it in the file or as {path}=VALUE"
        else:
            message = (
                message[0].lower() + message[1:]
                if message.startswith(("Input", "String", "Tuple", "List"))
                else message
            )
            given = problem["input"]
            shown = (
                f" (given: {given!r})" if isinstance(given, str | int | float) and repr(given) not in message else ""
            )
            line = f"{path}: {message}{shown}" if path else f"{message}"
        if line not in lines:
            lines.append(line)
    return "; ".join(lines)


def _walk(loc: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """The dotted path of an error's location, without pydantic's union tags, and the keys allowed at its last mapping."""
    path: list[str] = []
    model: Any = StudySpec
    allowed = list(StudySpec.model_fields)
    for part in loc:
        if isinstance(part, str) and (
            part.startswith(("literal[", "function-", "tuple[", "dict[")) or part in ("float", "int", "str", "[key]")
        ):
            continue
        path.append(str(part))
        fields = getattr(model, "model_fields", None)
        if fields is not None:
            allowed = list(fields)
            model = _inner_model(fields[part].annotation) if part in fields else None
    return ".".join(path), allowed


def _inner_model(annotation: Any) -> Any:
    """The model behind an annotation; for a container of models a stand-in that passes its key or index through."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        inner = _inner_model(argument)
        if inner is not None:
            container = getattr(annotation, "__origin__", None) in (dict, tuple, list)
            return _Items(inner) if container else inner
    return None


class _Items:
    """Stands for the items of a container in `_walk`: any key leads to the same model."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def model_fields(self) -> Any:
        model = self.model

        class _Any(dict[Any, Any]):
            def __contains__(self, key: object) -> bool:
                return True

            def __getitem__(self, key: Any) -> Any:
                return type("_Field", (), {"annotation": model})

        return _Any()
