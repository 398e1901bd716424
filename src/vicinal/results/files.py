"""Writing and reading results.json, and its JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vicinal.config import SCHEMA
from vicinal.errors import UsageError
from vicinal.results.study import StudyResults
from vicinal.version import __version__
from vicinal.workspace import Seal, mapping_seal, write_sealed_json

RESULTS_FILE = "results.json"


def write_results(folder: Path, results: StudyResults) -> None:
    """Write results.json of a study folder, whole or not at all. Raises VicinalError where it cannot be written."""
    write_sealed_json(folder / RESULTS_FILE, results.to_json())


def read_results(folder: Path) -> StudyResults:
    """The results of a study folder; UsageError in one line where they are missing, damaged or of another schema."""
    path = folder / RESULTS_FILE
    again = f"run the study again with `vicinal run STUDY --out {folder}`"
    if not path.is_file():
        raise UsageError(
            f"{folder} has no {RESULTS_FILE}: it is not a study folder or its study has not finished; {again}, "
            "which continues what is there, then ask for the report"
        )
    try:
        # NaN and infinities are not JSON; where one slipped in, the number is missing.
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON ({' '.join(str(error).split())}); {again}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path} is not a mapping of results; {again}")
    if mapping_seal(raw) is Seal.DAMAGED:  # older versions wrote none
        raise UsageError(f"{path} is not what was written (its checksum does not fit); {again}, which measures again")
    raw.pop("sha256", None)
    writer = f"vicinal {raw['version']}" if raw.get("version") else "an unknown version of vicinal"
    if raw.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder}: {RESULTS_FILE} has schema {raw.get('schema')!r}, written by {writer}, and vicinal {__version__} reads "
            f"schema {SCHEMA}; make the report with {writer}, or run the study again into a new folder"
        )
    try:
        results = StudyResults.model_validate(raw)
    except ValidationError as error:
        what = first_problem(error)
        raise UsageError(f"{folder}: {RESULTS_FILE}, written by {writer}, {what}; {again}") from None
    if not results.teachers and not results.students:
        raise UsageError(f"{folder}: {RESULTS_FILE}, written by {writer}, lacks 'teachers[0]'; {again}")
    return results


def is_as_written(folder: Path) -> bool:
    """Whether results.json of a study folder has a checksum that fits: else it was edited, or written by another program."""
    try:
        raw = json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(raw, dict) and "sha256" in raw and mapping_seal(raw) is not Seal.DAMAGED


def results_schema() -> dict[str, Any]:
    """The JSON Schema of results.json."""
    schema = StudyResults.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"vicinal {RESULTS_FILE}"}


def first_problem(error: ValidationError) -> str:
    """What is wrong with a file, with the place in it."""
    problem = error.errors(include_url=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).removeprefix(".")
    if problem["type"] == "missing":
        return f"lacks {path!r}"
    if problem["type"] == "extra_forbidden":
        return f"has a key that vicinal {__version__} does not know, {path!r}"
    return f"has a wrong value at {path!r} ({problem['msg'][0].lower()}{problem['msg'][1:]})"
