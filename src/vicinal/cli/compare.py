"""`vicinal compare`: several classifiers on the same images."""

from __future__ import annotations

import argparse
from typing import Any

from vicinal.cli.measure import add_measuring_arguments, run_measuring
from vicinal.errors import UsageError


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "compare",
        help="measure several classifiers on the same images, side by side with paired intervals",
        description="Measure classifiers as `vicinal measure` does, on the same images, and say of every figure whether they differ.",
    )
    parser.add_argument("names", metavar="MODEL", nargs="+", help="two classifiers or more, then DATA, the images")
    add_measuring_arguments(parser)
    parser.set_defaults(call=compare)


def compare(parsed: argparse.Namespace) -> None:
    """Measure them, and write one page of all."""
    *models, data = parsed.names
    if len(models) < 2:
        raise UsageError("compare takes two classifiers or more, then the images: vicinal compare MODEL MODEL DATA")
    run_measuring(parsed, models, data)
