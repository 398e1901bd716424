"""Study files: YAML to a `StudySpec`, and errors that name the key by its path and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vicinal.config.explain import explain, shortened
from vicinal.config.overrides import apply_override
from vicinal.config.study import StudySpec
from vicinal.config.yaml_values import MAX_CHARACTERS, MAX_DEPTH, read_yaml
from vicinal.errors import UsageError

EXTENDS = "extends"  # the key that names the study file to start from


def packaged_studies() -> dict[str, Traversable]:
    """The study files that come with the package, by name."""
    folder = resources.files("vicinal") / "studies"
    return {
        f.name.removesuffix(".yaml"): f
        for f in sorted(folder.iterdir(), key=lambda f: f.name)
        if f.name.endswith(".yaml")
    }


def load_study(study: str | Path | StudySpec, overrides: Sequence[str] = ()) -> StudySpec:
    """The study of a packaged name, a YAML file or a value, with KEY=VALUE overrides by dotted key.

    Raises UsageError, in one line, for an unknown study, key or value.
    """
    if isinstance(study, StudySpec):
        value, origin = study.model_dump(mode="json"), study.name
    else:
        value, origin = _read_study(str(study), ())
    for override in overrides:
        apply_override(value, override)
    return parse_study(value, origin)


def _read_study(study: str, readers: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """The plain values of a study, on top of those of the study that it extends, and its name in messages."""
    packaged = packaged_studies()
    if study in packaged:
        text, origin = packaged[study].read_text(encoding="utf-8"), study
    else:
        path = Path(study)
        if not _is_file(path):
            close = difflib.get_close_matches(shortened(study), packaged, n=3)
            hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
            who = f"{readers[-1]}: {EXTENDS}: " if readers else ""
            raise UsageError(
                f"{who}no study {shortened(study, 4096)!r}: {hint}packaged studies are {', '.join(packaged)}; or give a YAML file"
            )
        try:
            with path.open("rb") as file:
                text, origin = str(file.read(4 * MAX_CHARACTERS + 1), "utf-8-sig"), shortened(path, 4096)
        except UnicodeDecodeError as error:
            where = f"byte {error.start} is none" if error.end < 4 * MAX_CHARACTERS else "it is too long for one"
            raise UsageError(
                f"cannot read the study file {shortened(study, 4096)}: it has to be text in UTF-8, and {where}"
            ) from None
        except OSError as error:
            raise UsageError(f"cannot read the study file {shortened(study, 4096)}: {error.strerror}") from None
    value = read_yaml(text, origin)
    if not isinstance(value, dict):
        raise UsageError(f"{origin}: a study file is a mapping of keys (name, data, teachers, student, arms, ...)")
    if EXTENDS not in value:
        return value, origin
    base = value.pop(EXTENDS)
    if not isinstance(base, str):
        raise UsageError(f"{origin}: {EXTENDS} is the name of a packaged study or a YAML file, not {shortened(base)!r}")
    if base not in packaged:
        base = str(Path(study).parent / base)
    if base in (*readers, study) or len(readers) >= MAX_DEPTH:
        raise UsageError(f"{origin}: {EXTENDS}: {shortened(base, 4096)} extends itself")
    below, _ = _read_study(base, (*readers, study))
    return _merged(below, value), origin


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` on `below`: mappings are merged key by key, null removes one, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        if value is None and isinstance(merged.get(key), dict):
            del merged[key]
            continue
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def parse_study(value: Mapping[str, Any], origin: str) -> StudySpec:
    """Validate a study given as plain values; UsageError names each wrong key by its path."""
    try:
        return StudySpec.model_validate(value)
    except ValidationError as error:
        raise UsageError(f"{origin}: {explain(error, value)}") from None
