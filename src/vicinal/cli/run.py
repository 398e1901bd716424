"""`vicinal run`: train, measure and report a study, or continue it."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from vicinal.cli.report import print_report
from vicinal.cli.study_arguments import add_study_arguments, prepare_process, study_and_folder
from vicinal.workspace import check_not_held, printable, say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("run", help="run a study (or continue it), measure it and write its report")
    add_study_arguments(parser)
    parser.set_defaults(call=run)


def run(parsed: argparse.Namespace) -> None:
    """Run a study and write its report."""
    spec, out = study_and_folder(parsed)
    check_not_held(out)
    prepare_process(spec)
    from vicinal import api

    api.run(spec, parsed.out or out, command=printable(shlex.join(["vicinal", *parsed.given])))
    print_report(out / "report.html")
    if isinstance(parsed.out, str):
        say(f"all of it: {parsed.out}")
