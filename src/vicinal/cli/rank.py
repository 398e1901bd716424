"""`vicinal rank`: which of several teachers to distil from, before any student is trained."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicinal.cli.study_arguments import prepare_process
from vicinal.cli.table import print_table
from vicinal.errors import UsageError
from vicinal.workspace import check_not_held, check_place, printable

if TYPE_CHECKING:
    from rich.table import Table

    from vicinal.recipes import Ranking


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("rank", help="say which of several teachers to distil from; trains nothing")
    parser.add_argument(
        "arguments",
        metavar="TEACHER TEACHER ... DATA [KEY=VALUE ...]",
        nargs="+",
        help="teachers (a timm name, NAME=FILE, or a weights file that says its model), and behind them the data",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder (default: runs/rank-<name of the data>)")
    parser.set_defaults(call=rank, overrides=())


def rank(parsed: argparse.Namespace) -> None:
    """Measure the teachers and print them in order."""
    words = list(parsed.arguments)
    overrides = list(parsed.overrides)  # those behind an option
    while words and _is_override(words[-1]):
        overrides.insert(0, words.pop())
    if len(words) < 3:
        raise UsageError("give at least two teachers and behind them the data: vicinal rank TEACHER TEACHER DATA")
    *teachers, data = words
    if parsed.out is not None:
        check_place(parsed.out)
        check_not_held(parsed.out)
    from vicinal import api

    command = printable(shlex.join(["vicinal", *parsed.given]))
    ranking = api.rank(teachers, data, parsed.out, overrides, command=command, prepare_process=prepare_process)
    lines = [*ranking.notes, *ranking.evidence, f"numbers: {ranking.out / 'ranking.json'}"]
    print_table(_table(ranking), "\n".join(lines))


def _is_override(word: str) -> bool:
    """A key of a study with its value, and no NAME=FILE of a teacher."""
    key, equals, _ = word.partition("=")
    return bool(equals) and key.partition(".")[0] in ("data", "teachers", "measures", "runtime", "seeds")


def _table(ranking: Ranking) -> Table:
    """A row for each teacher, the first one to learn from."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for heading in ("", "accuracy", "NLL", "scaled", "conf. − acc.", "NL(½)", "D(½)", "H(½)", "students' conf. − acc."):
        table.add_column(heading, justify="right", no_wrap=True)
    table.columns[0].header = "#"
    table.add_column("why", no_wrap=True)
    table.add_column("teacher", no_wrap=True)
    for place, own in enumerate(ranking.teachers, start=1):
        low, high = own.accuracy_interval or (own.accuracy, own.accuracy)
        expected = own.student_gap
        outside = " (beyond the studies)" if expected.outside else ""
        table.add_row(
            str(place),
            f"{own.accuracy:.1%} ({low:.1%} to {high:.1%})",
            f"{own.nll:.3f}",
            _number(own.nll_after_scaling),
            f"{100 * own.gap:+.1f} pp",
            *(_number(value) for value in (own.nonlinearity, own.dominance, own.entropy)),
            f"{100 * expected.gap:+.0f} pp ({100 * expected.lower:+.0f} to {100 * expected.upper:+.0f}){outside}",
            own.reason,
            Text(printable(own.name)),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
