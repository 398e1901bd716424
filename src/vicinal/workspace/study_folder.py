"""The folder of a study: what it is for, and whether it may be used.

study.json is a mark and no more: where it is damaged and the folder is a study's by all else, it is written again.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from vicinal.config import SCHEMA
from vicinal.errors import UsageError
from vicinal.version import __version__
from vicinal.workspace.checksums import Seal, mapping_seal, write_sealed_json
from vicinal.workspace.lock import LOCK_FILE
from vicinal.workspace.terminal import say

STUDY_FILE = "study.json"
_MARK_KEYS = {"schema", "version", "study"}
# What a study leaves in its folder.
_OWN = {
    LOCK_FILE,
    STUDY_FILE,
    "jobs.json",
    "work",
    "runs",
    "banks",
    "images.csv",
    "near_duplicates.csv",
    "unreadable.csv",
    "results.json",
    "resamples.npz",
    "report.html",
    "tables",
    "figures",
    "paper",
    "distill.yaml",
    "student",
}


def open_study_folder(folder: Path, study: str) -> None:
    """Make a study folder or check that this one is the same study's and of this schema. Raises UsageError otherwise."""
    check_out_folder(folder, study)
    mark = folder / STUDY_FILE
    if _read_mark(folder) is None:
        if mark.exists():
            say(f"{mark} is damaged; it is written again", sys.stderr)
        write_sealed_json(mark, {"schema": SCHEMA, "version": __version__, "study": study})


def check_out_folder(folder: Path, study: str) -> None:
    """UsageError where a study cannot have this folder: it is not a folder, or holds something else. Changes nothing."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose a folder with --out")
    if not (folder / STUDY_FILE).exists():
        # What a killed process was writing does not count.
        others = [p.name for p in folder.iterdir() if p.name != LOCK_FILE and not p.match(".*.part")]
        if others:
            raise UsageError(
                f"{folder} holds other files ({others[0]}, ...) and no study; choose an empty folder with --out"
            )
        return
    check_study_folder(folder)
    held = (_read_mark(folder) or {}).get("study") or _study_of_results(folder) or study
    if held != study:
        raise UsageError(f"{folder} holds the study {held!r}, not {study!r}; choose another folder with --out")


def check_study_folder(folder: Path) -> None:
    """UsageError where the folder is not a study folder or was written in another schema."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; vicinal run STUDY --out {folder} makes one")
    mark_file = folder / STUDY_FILE
    if not mark_file.exists():
        raise UsageError(f"{folder} holds no study (no {STUDY_FILE}); vicinal run STUDY --out DIR makes one")
    mark = _read_mark(folder)
    if mark is None:
        others = [p.name for p in folder.iterdir() if p.name not in _OWN and not p.match(".*.part")]
        if others:
            raise UsageError(
                f"{mark_file} is damaged and the folder holds other files ({others[0]}, ...), so it cannot be told whether it is a "
                f"study's; choose another with --out, or delete {STUDY_FILE} and what is not the study's"
            )
        return
    schema, version = mark["schema"], mark["version"]
    if schema != SCHEMA:
        raise UsageError(
            f"{folder} was written by vicinal {version} (schema {schema}); this is vicinal {__version__} (schema {SCHEMA}): "
            f"use that version for it, or another folder with --out"
        )


def _read_mark(folder: Path) -> dict[str, Any] | None:
    """The mark, also one without a checksum as older versions wrote it; None where it is missing or damaged."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        mark = json.loads((folder / STUDY_FILE).read_bytes().decode("utf-8"))
        if isinstance(mark, dict) and mark.keys() - {"sha256"} == _MARK_KEYS and mapping_seal(mark) is not Seal.DAMAGED:
            return mark
    return None


def _study_of_results(folder: Path) -> str | None:
    """Whose results the folder holds, where these are whole."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        results = json.loads((folder / "results.json").read_bytes().decode("utf-8"))
        if isinstance(results, dict) and mapping_seal(results) is not Seal.DAMAGED:
            return str(results["study"]) if "study" in results else None
    return None
