"""`vicinal compare`: several classifiers on the same images, or finished studies side by side."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from vicinal.cli.measure import add_measuring_arguments, run_measuring
from vicinal.cli.table import print_table
from vicinal.errors import UsageError
from vicinal.workspace import STUDY_FILE, printable, say

_MARKS = (STUDY_FILE, "results.json")
# What says how classifiers are asked, which studies were long ago.
_OF_CLASSIFIERS = ("validation", "pairs", "classes", "class_names", "image_size", "lazy", "batch_size", "threads")


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "compare",
        help="measure several classifiers on the same images, or set finished studies side by side, with paired intervals",
        description="Measure classifiers as `vicinal measure` does, on the same images, and say of every figure whether they differ: "
        "vicinal compare MODEL MODEL DATA. Or join finished studies: vicinal compare STUDY STUDY lists which settings differ and what "
        "that changed, from what the studies stored. Each further study is held against the first.",
    )
    parser.add_argument(
        "names",
        metavar="MODEL",
        nargs="+",
        help="two classifiers or more, then DATA, the images; or two study folders or more",
    )
    add_measuring_arguments(parser)
    parser.set_defaults(call=compare)


def compare(parsed: argparse.Namespace) -> None:
    """Measure them, and write one page of all."""
    if any((Path(name) / mark).is_file() for name in parsed.names for mark in _MARKS):
        _join(parsed)
        return
    *models, data = parsed.names
    if len(models) < 2:
        raise UsageError(
            "compare takes two classifiers or more, then the images: vicinal compare MODEL MODEL DATA; or finished studies: "
            "vicinal compare STUDY STUDY"
        )
    run_measuring(parsed, models, data)


def _join(parsed: argparse.Namespace) -> None:
    """Set studies side by side."""
    given = [key for key in _OF_CLASSIFIERS if getattr(parsed, key)]
    if given:
        name = given[0].replace("_", "-")
        raise UsageError(f"--{name} goes with MODEL MODEL DATA: studies are compared by what they stored; leave it out")
    from vicinal.measuring import (
        check_joined_folder,
        default_joined_folder,
        join_studies,
        joined_table,
        joined_text,
        write_joined,
    )

    if parsed.out is not None:
        check_joined_folder(parsed.out)
    results = join_studies([Path(name) for name in parsed.names], printable(shlex.join(["vicinal", *parsed.given])))
    page = write_joined(results, parsed.out or default_joined_folder(results))
    print_table(joined_table(results), joined_text(results))
    say(f"page: {page}; numbers: {page.parent / 'joined.json'}; tables: {page.parent / 'tables'}")
