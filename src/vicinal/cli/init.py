"""`vicinal init`: write a commented study file for a data folder and a teacher."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vicinal.workspace import say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "init", help="write a commented study file for a data folder and a teacher; trains nothing"
    )
    parser.add_argument(
        "data", metavar="DATA", help="a folder of class folders, or anything else that data.source takes"
    )
    add_student_arguments(parser)
    parser.add_argument(
        "--teacher", metavar="MODEL", help="a timm name, NAME=FILE, or a weights file that says its model"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("study.yaml"), help="default: study.yaml")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.set_defaults(call=init)


def add_student_arguments(parser: argparse.ArgumentParser) -> None:
    """--student and --student-weights."""
    parser.add_argument("--student", metavar="NAME", help="a timm name; default: a small one of the teacher's family")
    parser.add_argument(
        "--student-weights",
        metavar="FILE|hub|none",
        help="that the student starts from; default: the hub's, where it can be reached",
    )


def init(parsed: argparse.Namespace) -> None:
    """Write the file and say what to do with it."""
    from vicinal import api

    api.init(
        parsed.data,
        parsed.out,
        teacher=parsed.teacher,
        student=parsed.student,
        student_weights=parsed.student_weights,
        force=parsed.force,
    )
    say(f"{parsed.out} is written. vicinal plan {parsed.out} says what it takes, vicinal run {parsed.out} runs it.")
