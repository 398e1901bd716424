"""`vicinal report`: the report of a study folder, written again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vicinal.cli.table import print_table
from vicinal.workspace import check_not_held, say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("report", help="write the report of a study folder again")
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.set_defaults(call=report)


def report(parsed: argparse.Namespace) -> None:
    """Write the report of a study folder again."""
    if not (parsed.folder / "results.json").exists():
        check_not_held(parsed.folder, "it writes the report itself when it is done")
    from vicinal import api

    print_report(api.report(parsed.folder))


def print_report(page: Path) -> None:
    """Print the summary table of a study, in a sentence whether to ship which student, and where its report lies."""
    from vicinal.report import terminal_summary

    print_table(*terminal_summary(page.parent))
    say(f"report: {page}")
