"""`vicinal status`: what becomes of a study's runs."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicinal.cli.table import print_table
from vicinal.workspace import JobStatus, StudyStatus, folder_or_url, format_seconds, status_at, status_of

if TYPE_CHECKING:
    from rich.table import Table

MOST_ROWS = 40  # of jobs that nothing happens to


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "status",
        help="show which runs of a study are done, running (by whom, how far, until when), to do or failed",
        description="Read a study's folder, from wherever it is seen; nothing is loaded, locked or changed.",
    )
    parser.add_argument("folder", metavar="DIR", type=folder_or_url, help="a study's folder, or its URL")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(call=status)


def status(parsed: argparse.Namespace) -> None:
    """Print a table of jobs and a line about all."""
    found = status_at(parsed.folder) if isinstance(parsed.folder, str) else status_of(parsed.folder)
    if parsed.json:
        print(json.dumps(_plain(found), indent=1))
        return
    print_table(_table(found), _summary(found, parsed.folder))


def _table(found: StudyStatus) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from vicinal.workspace import printable

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("job", "runs", "state", "epoch", "left", "by"):
        table.add_column(heading)
    order = ("running", "failed", "to continue", "to do", "waits", "done")
    shown = sorted(found.jobs, key=lambda one: order.index(one.what))
    for one in shown[:MOST_ROWS]:
        cells = (one.title, str(len(one.job.runs)), _state(one), _epoch(one), _left(one), _by(one))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    if len(shown) > MOST_ROWS:
        table.add_row(Text(f"... and {len(shown) - MOST_ROWS} more"))
    return table


def _state(one: JobStatus) -> str:
    return f"{one.what} ({one.beat.what})" if one.what == "running" and one.beat is not None else one.what


def _epoch(one: JobStatus) -> str:
    beat = one.beat
    return f"{beat.epoch} of {beat.epochs}" if beat is not None and beat.epochs else ""


def _left(one: JobStatus) -> str:
    return format_seconds(one.seconds_left) if one.seconds_left is not None else ""


def _by(one: JobStatus) -> str:
    if one.state is None:
        return ""
    if one.what == "running":
        return f"{one.state.by} since {time.strftime('%H:%M:%S', time.localtime(one.state.since))}"
    return one.state.error or "" if one.what == "failed" else f"last {one.state.by}"


def _summary(found: StudyStatus, folder: Path | str) -> str:
    kinds = Counter[str]()
    for one in found.jobs:
        kinds[one.what] += len(one.job.runs)
    parts = [f"{kinds[what]} {what}" for what in ("running", "to continue", "to do", "waits", "failed") if kinds[what]]
    lines = [f"{found.study}: {found.runs_done} of {found.runs} runs are done" + "".join(f", {part}" for part in parts)]
    if found.seconds_left is not None:
        end = time.strftime("%H:%M", time.localtime(time.time() + found.seconds_left))
        lines.append(f"trained in about {format_seconds(found.seconds_left)} (at {end}) if its workers go on like this")
    if found.failed:
        lines.append(f"the same vicinal run, or vicinal work {folder} --retry, tries again what failed")
    elif found.runs_done == found.runs:
        lines.append(
            f"report: {folder}/report.html"
            if found.has_results
            else "vicinal run with the study measures it and writes its report"
        )
    return "\n".join(lines)


def _plain(found: StudyStatus) -> dict[str, Any]:
    jobs = []
    for one in found.jobs:
        beat, state = one.beat, one.state
        jobs.append(
            {
                "runs": list(one.job.runs),
                "state": one.what,
                "share_done": round(one.done, 4),
                "epoch": beat.epoch if beat is not None else None,
                "epochs": beat.epochs if beat is not None else None,
                "seconds_left": one.seconds_left,
                "process": state.process if state is not None else None,
                "host": state.host if state is not None else None,
                "since": state.since if state is not None else None,
                "last_word": state.at if state is not None else None,
                "error": state.error if state is not None else None,
            }
        )
    return {"study": found.study, "seconds_left": found.seconds_left, "has_results": found.has_results, "jobs": jobs}
