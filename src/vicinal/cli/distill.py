"""`vicinal distill`: a student to ship from a teacher and a folder of images, in given minutes."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from vicinal.cli.init import add_student_arguments
from vicinal.cli.report import print_report
from vicinal.cli.study_arguments import prepare_process
from vicinal.errors import UsageError
from vicinal.workspace import check_not_held, check_place, printable, say

MINUTES = 60.0


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "distill", help="from a teacher and a folder of images to a student to ship, in given minutes"
    )
    parser.add_argument(
        "teacher", metavar="TEACHER", help="a timm name, NAME=FILE, or a weights file that says its model"
    )
    parser.add_argument(
        "data", metavar="DATA", help="a folder of class folders, or anything else that data.source takes"
    )
    add_student_arguments(parser)
    parser.add_argument(
        "--minutes", metavar="M", type=float, default=MINUTES, help=f"that it may take in all (default: {MINUTES:g})"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="study folder (default: runs/distill-<name of the data>)"
    )
    parser.add_argument("--plan", action="store_true", help="print the study file that would be run, and stop")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="keys of the study, which are then not decided"
    )
    parser.set_defaults(call=distill)


def distill(parsed: argparse.Namespace) -> None:
    """Decide, print the study file, run it, and say what came of it."""
    if not 0 < parsed.minutes < float("inf"):
        raise UsageError(f"--minutes is a number above 0, not {parsed.minutes:g}")
    if parsed.out is not None:
        check_place(parsed.out)
        check_not_held(parsed.out)
    from vicinal import api

    page = api.distill(
        parsed.teacher,
        parsed.data,
        parsed.out,
        student=parsed.student,
        student_weights=parsed.student_weights,
        minutes=parsed.minutes,
        overrides=parsed.overrides,
        plan_only=parsed.plan,
        command=printable(shlex.join(["vicinal", *parsed.given])),
        show=_show,
        say=lambda line: say(line, sys.stderr),
        prepare_process=prepare_process,
    )
    if page is not None:
        print_report(page)


def _show(text: str) -> None:
    say(text.rstrip("\n"), is_printable=True)  # a study file's comments and values are printable already
    sys.stdout.flush()
