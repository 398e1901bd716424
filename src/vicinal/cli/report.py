"""`vicinal report`: the report of a study folder, written again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vicinal.workspace import check_study_folder


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("report", help="write the report of a study folder again")
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.set_defaults(call=report)


def report(parsed: argparse.Namespace) -> None:
    """Write the report of a study folder again."""
    print_report(parsed.folder)


def print_report(folder: Path) -> None:
    """Write the report of a study folder and say where it lies."""
    check_study_folder(folder)
    from vicinal.report import write_report

    print(f"report: {write_report(folder)}")
