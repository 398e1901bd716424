"""`vicinal plan`: what a run would do and take; spends nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from vicinal.cli.study_arguments import add_study_arguments, prepare_process, study_and_folder
from vicinal.cli.table import print_table
from vicinal.workspace import format_seconds, printable

if TYPE_CHECKING:
    from rich.table import Table

    from vicinal.study import PlanSummary


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("plan", help="say what 'run' with the same arguments would do; spends nothing")
    add_study_arguments(parser)
    parser.set_defaults(call=plan)


def plan(parsed: argparse.Namespace) -> None:
    """Print every run with its cost, and what all of them take."""
    spec, out = study_and_folder(parsed)
    prepare_process(spec)
    from vicinal import api

    summary = api.plan(spec, parsed.out or out)
    print_table(_table(summary), "\n".join(summary.lines))


def _table(summary: PlanSummary) -> Table:
    """A row for each run."""
    from rich.table import Table
    from rich.text import Text

    title = Text(printable(f"{summary.title}: {len(summary.runs)} runs in {summary.out}"), style="table.title")
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("run", "learns from", "model", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seed", "parameters", "GFLOPs/image", "epochs", "images", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in summary.runs:
        table.add_row(
            *(Text(printable(part)) for part in (run.run, run.learns_from, run.model, run.status)),
            str(run.seed),
            f"{run.parameters:,}",
            f"{run.gflops_per_image:.3g}",
            str(run.epochs),
            f"{run.images:,}",
            format_seconds(run.time_s),
        )
    return table
