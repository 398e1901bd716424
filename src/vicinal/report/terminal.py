"""The end of a study on a terminal: the summary table, and in a sentence whether to ship which student."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vicinal.report.findings import choose, findings
from vicinal.report.recalls import balanced_of, classes_are_unequal
from vicinal.report.rows import SCALED, Results, Row, load_results, mean_and_spread, told_in_a_line
from vicinal.report.ship import ship_answer
from vicinal.workspace import printable

if TYPE_CHECKING:
    from rich.table import Table

MOST_ROWS = 12  # of the table; the rest is in the report
CHOSEN = "→"
_COLUMNS = (  # heading, key, factor, digits
    ("accuracy %", "accuracy", 100.0, 1),
    ("balanced %", "balanced", 100.0, 1),
    ("ECE", "ece", 1.0, 3),
    ("ECE scaled", "ece" + SCALED, 1.0, 3),
    ("NLL", "nll", 1.0, 3),
)


def terminal_summary(folder: Path) -> tuple[Table, str]:
    """The summary table of a study folder, and the sentences below it, all of them printable.

    Raises UsageError where the folder has no results that can be read.
    """
    with told_in_a_line(folder):
        results = load_results(folder)
        return _table(results), "\n".join(_sentences(results, folder))


def _table(results: Results) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True)
    columns = [column for column in _COLUMNS if column[1] != "balanced" or classes_are_unequal(results)]
    for heading, *_ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    choice = choose(results)
    chosen = choice.row if choice is not None else None
    for row in _shown(results, chosen):
        name = f"teacher {row.label}" if row.is_teacher else row.name
        cells = [_cell(row, key, factor, digits) for _, key, factor, digits in columns]
        count = row.models[0].get("parameters")
        mark = f"{CHOSEN} " if row is chosen else "  "
        style = "bold" if row is chosen else ""
        table.add_row(Text(mark + printable(name), style=style), *cells, f"{count:,}" if count else "–")
    return table


def _shown(results: Results, chosen: Row | None) -> list[Row]:
    """The rows in the order of the report; of many the teachers', the chosen one and the most accurate."""
    if len(results.rows) <= MOST_ROWS:
        return list(results.rows)
    first = [*results.teachers, *([chosen] if chosen is not None else [])][:MOST_ROWS]
    others = sorted(
        (row for row in results.students if row is not chosen),
        key=lambda row: -max(row.values("accuracy"), default=0.0),
    )
    kept = {*first, *others[: MOST_ROWS - len(first)]}
    return [row for row in results.rows if row in kept]


def _cell(row: Row, key: str, factor: float, digits: int) -> str:
    values = row.values(key)
    if key == "balanced":
        values = [balanced for model in row.models if (balanced := balanced_of(model)) is not None]
    found = mean_and_spread(values)
    if found is None:
        return "–"
    mean, spread = found
    # What a student whose logits have no scale answers as it is means nothing.
    if row.scale_free and key in ("ece", "nll"):
        return "†"
    return f"{factor * mean:.{digits}f}" + ("" if spread is None else f" ± {factor * spread:.{digits}f}")


def _sentences(results: Results, folder: Path) -> list[str]:
    lines = []
    if len(results.rows) > MOST_ROWS:
        lines.append(f"  and {len(results.rows) - MOST_ROWS} more in the report")
    if any(row.scale_free for row in results.rows):
        lines.append("† trained with T = σ: the scale of its logits means nothing")
    answer = ship_answer(results)
    if answer is not None:
        lines.append(f"{answer.word}: {answer.sentence}")
        if answer.weights:
            lines.append(f"weights: {folder / answer.weights}")
    elif said := findings(results):
        lines.append(said[0].text)
    return [printable(line) for line in lines]
