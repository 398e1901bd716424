"""A measurement on the terminal: the table, and the answer in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vicinal.measuring.tables import answer_sentence, difference_rows, figure_rows
from vicinal.report import inert
from vicinal.results import MeasurementResults

if TYPE_CHECKING:
    from rich.table import Table


def summary_table(results: MeasurementResults) -> Table:
    """The figures, a column for each classifier; of two also what they differ by."""
    from rich.table import Table
    from rich.text import Text

    value = inert(results.to_json())
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for model in value["models"]:
        table.add_column(Text(model["name"]), justify="right")
    two = len(value["models"]) == 2
    if two:
        table.add_column("difference", justify="right")
    differences = {row.label: row.cells[0] for row in difference_rows(value)} if two else {}
    for row in figure_rows(value):
        cells = [Text(f"{cell.text} ({cell.small})" if cell.small else cell.text) for cell in row.cells]
        if two:
            own = differences.get(row.label)
            mark = " *" if own and own.clear else ""
            cells.append(Text(f"{own.text} ({own.small}){mark}" if own and own.small else own.text if own else ""))
        table.add_row(row.label, *cells)
    return table


def summary_text(results: MeasurementResults) -> str:
    """The answer in a sentence, and what a reader must know beside it."""
    value = inert(results.to_json())
    lines = [answer_sentence(value)]
    if len(value["models"]) == 2:
        lines.append("* the interval of the difference does not hold 0")
    for model in value["models"]:
        if model.get("no_fitted_temperature"):
            lines.append(f"{model['name']}: no temperature is fitted: {model['no_fitted_temperature']}")
        lines += [f"{model['name']}: {note}" for note in model["notes"]]
    return "\n".join([*lines, *value["data"]["notes"], *value["notes"]])
