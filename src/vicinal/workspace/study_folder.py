"""The folder of a study: what it is for, and whether it may be used."""

from __future__ import annotations

import json
from pathlib import Path

from vicinal.config import SCHEMA
from vicinal.errors import UsageError
from vicinal.version import __version__
from vicinal.workspace.files import read_json, write_json
from vicinal.workspace.lock import LOCK_FILE

STUDY_FILE = "study.json"


def open_study_folder(folder: Path, study: str) -> None:
    """Make a study folder or check that this one is the same study's and of this schema. Raises UsageError otherwise."""
    check_out_folder(folder, study)
    if not (folder / STUDY_FILE).exists():
        write_json(folder / STUDY_FILE, {"schema": SCHEMA, "version": __version__, "study": study})


def check_out_folder(folder: Path, study: str) -> None:
    """UsageError where a study cannot have this folder: it is not a folder, or holds something else. Changes nothing."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose a folder with --out")
    if not (folder / STUDY_FILE).exists():
        others = [p.name for p in folder.iterdir() if p.name != LOCK_FILE]
        if others:
            raise UsageError(
                f"{folder} holds other files ({others[0]}, ...) and no study; choose an empty folder with --out"
            )
        return
    check_study_folder(folder)
    held = read_json(folder / STUDY_FILE).get("study")
    if held != study:
        raise UsageError(f"{folder} holds the study {held!r}, not {study!r}; choose another folder with --out")


def check_study_folder(folder: Path) -> None:
    """UsageError where the folder is not a study folder or was written in another schema."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; vicinal run STUDY --out {folder} makes one")
    mark_file = folder / STUDY_FILE
    if not mark_file.exists():
        raise UsageError(f"{folder} holds no study (no {STUDY_FILE}); vicinal run STUDY --out DIR makes one")
    try:
        mark = json.loads(mark_file.read_text(encoding="utf-8"))
        schema, version = mark["schema"], mark["version"]
    except (OSError, ValueError, TypeError, KeyError):
        raise UsageError(
            f"{mark_file} is damaged, so it cannot be told whose folder it is; choose another with --out"
        ) from None
    if schema != SCHEMA:
        raise UsageError(
            f"{folder} was written by vicinal {version} (schema {schema}); this is vicinal {__version__} (schema {SCHEMA}): "
            f"use that version for it, or another folder with --out"
        )
