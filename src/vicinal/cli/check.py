"""`vicinal check`: what there is to know of a folder of images, and of a teacher on it, before a study is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicinal.cli.table import print_table
from vicinal.errors import UsageError
from vicinal.workspace import check_place, printable

if TYPE_CHECKING:
    from rich.table import Table

    from vicinal.study import DataCheck

MOST_ROWS = 60  # classes that the table shows; classes.csv has all


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("check", help="look at images (and a teacher on them) before a study is written")
    parser.add_argument("data", metavar="DATA", help="a folder, a table or a name, as data.source of a study")
    parser.add_argument("--teacher", metavar="MODEL", help="a classifier to ask about up to 500 of the images")
    parser.add_argument("--image-size", metavar="PX", type=int, help="data.image_size of the study to come")
    parser.add_argument("--class-order", choices=("text", "natural"), help="data.class_order of the study to come")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("check"), help="for the CSV files (default: check)"
    )
    parser.set_defaults(call=check)


def check(parsed: argparse.Namespace) -> None:
    """Print what was found, write it as CSV, and refuse what cannot be used."""
    check_place(parsed.out)
    if parsed.out.exists() and not parsed.out.is_dir():
        raise UsageError(f"{parsed.out} is a file; choose a folder with --out")
    from vicinal import api

    found = api.check(
        parsed.data,
        teacher=parsed.teacher,
        out=parsed.out,
        image_size=parsed.image_size,
        class_order=parsed.class_order,
    )
    lines = [
        *found.facts,
        *(f"Note: {note}" for note in found.data.notes),
        *(f"Warning: {line}" for line in found.warnings),
    ]
    if len(found.counts) > MOST_ROWS:
        lines.insert(0, f"The first {MOST_ROWS} of {len(found.counts)} classes; {parsed.out}/classes.csv has all.")
    lines.append(f"Lists: {', '.join(sorted(str(p) for p in parsed.out.glob('*.csv')))}.")
    print_table(_table(found), "\n".join(lines))
    if found.problems:
        raise UsageError("; ".join(found.problems))


def _table(found: DataCheck) -> Table:
    """A row for each class."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(found.data.name), style="table.title"), title_justify="left", box=None)
    table.add_column("class", no_wrap=True)
    for heading in ("training", "validation", "test", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    total = sum(c.train + c.validation + c.test for c in found.counts)
    for c in found.counts[:MOST_ROWS]:
        share = (c.train + c.validation + c.test) / total
        table.add_row(Text(printable(c.name)), f"{c.train:,}", f"{c.validation:,}", f"{c.test:,}", f"{share:.1%}")
    return table
