"""The part of the report that follows the paper: which of its tables and figures this study has, as files and on the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from vicinal.report.figures import figure_context
from vicinal.report.paper.latex import latex
from vicinal.report.paper.paper_figure import PaperFigure
from vicinal.report.paper.table import PaperTable, Quantity, TableRow, Value, paper_text, spread_text
from vicinal.report.rows import Results
from vicinal.report.tables import ABSENT

MANY_ROWS = 12  # the numbers of a figure stand folded below it when they are more


@dataclass(frozen=True)
class PaperPart:
    """The paper's tables and figures from one study, with data or without, in the paper's order."""

    tables: tuple[PaperTable, ...]
    figures: tuple[PaperFigure, ...]

    def missing(self) -> list[tuple[str, str]]:
        """What is not here and what it needs, as in ("Figure 6", "measures.corruptions")."""
        everything = [(f"Table {t.number}" if t.number else t.title, bool(t.rows), t.missing) for t in self.tables]
        everything += [(f"Figure {figure.number}", figure.is_drawn, figure.missing) for figure in self.figures]
        return [
            (name + (", in part" if there else ""), "; ".join(missing))
            for name, there, missing in everything
            if missing
        ]

    def missing_words(self) -> list[str]:
        """The same as sentences without a full stop: "Figure 6 (needs measures.corruptions)"."""
        return [f"{name} (needs {needs})" for name, needs in self.missing()]


def paper_files(results: Results, part: PaperPart) -> dict[str, str]:
    """The files of everything that the study has, by their path in the study folder, and an index of them."""
    selection = results.selection
    files: dict[str, str] = {}
    lines = ["# The paper's tables and figures from this study", "", results.selection_sentence, ""]
    for table in part.tables:
        if table.rows:
            files |= _table_files(table, selection)
            lines.append(f"- {table.heading}: {table.name}.csv, {table.name}.md, {table.name}.tex")
    for figure in part.figures:
        if figure.figure is not None:
            files[f"paper/{figure.name}.svg"] = figure.figure.file()
        if figure.numbers is not None and figure.numbers.rows:
            files |= _table_files(figure.numbers, selection)
        if figure.is_drawn:
            numbers = f", its numbers in {figure.name}.csv, .md and .tex" if figure.numbers else ""
            lines.append(f"- Figure {figure.number}: {figure.title}: {figure.name}.svg{numbers}")
    lines += ["", "Not in this study:", "", *(f"- {words}" for words in part.missing_words())]
    return {**files, "paper/index.md": "\n".join(lines) + "\n"}


def own_files(part: PaperPart) -> set[str]:
    """Every path that a report may write here, so that what an earlier report wrote and this one does not can go."""
    names = {"performance", *(table.name for table in part.tables), *(figure.name for figure in part.figures)} - {
        "figure2"
    }
    return {f"paper/{name}.{ending}" for name in names for ending in ("csv", "md", "tex", "svg")}


def _table_files(table: PaperTable, selection: str) -> dict[str, str]:
    return {
        f"paper/{table.name}.csv": table.csv(selection),
        f"paper/{table.name}.md": table.markdown(),
        f"paper/{table.name}.tex": latex(table),
    }


# --- for the page -----------------------------------------------------------------------------------------------------


def paper_context(part: PaperPart) -> dict[str, Any]:
    """What the template needs: the items that there are, the list of what is missing, and whether anything is new on the page."""
    items = [_table_item(table) for table in part.tables if table.rows]
    items += [_figure_item(figure) for figure in part.figures if figure.is_drawn]
    numbers = [*part.tables, *(figure.numbers for figure in part.figures if figure.numbers)]
    return {
        "items": items,
        # Once for all of the page; the files say it each.
        "setting": list(dict.fromkeys(note for table in numbers for note in table.setting)),
        "missing": part.missing(),
        # A part that only repeats is folded, and stays out of a print.
        "quiet": all(item["folded"] for item in items),
        "compared": any(t.has_paper for t in part.tables)
        or any(f.numbers and f.numbers.has_paper for f in part.figures),
    }


def _table_item(table: PaperTable) -> dict[str, Any]:
    return {
        "id": f"paper-{table.name}",
        "short": f"Table {table.number}" if table.number else "Performance",
        "heading": table.heading,
        # Without the paper's values these rearrange what stands in the report's own table.
        "folded": not table.has_paper and table.number != 7,
        "table": table_context(table),
        "numbers": None,
        "figure": None,
        "foreign": None,
        "missing": "; ".join(table.missing),
    }


def _figure_item(figure: PaperFigure) -> dict[str, Any]:
    numbers = figure.numbers if figure.numbers and figure.numbers.rows else None
    return {
        "id": f"paper-{figure.name}",
        "short": f"Figure {figure.number}",
        "heading": f"Figure {figure.number}: {figure.title}",
        "folded": figure.repeats and not (numbers and numbers.has_paper),
        "table": None,
        "numbers": {**table_context(numbers), "open": numbers.has_paper and len(numbers.rows) <= MANY_ROWS}
        if numbers
        else None,
        "figure": {**figure_context(figure.figure), "across": figure.figure.columns, "tall": figure.number == 6}
        if figure.figure
        else None,
        # Checked to run and load nothing where it was read.
        "foreign": Markup(figure.foreign) if figure.foreign else None,  # noqa: S704
        "missing": "; ".join(figure.missing),
    }


def table_context(table: PaperTable) -> dict[str, Any]:
    """The shown cells of a table, and its words."""
    return {
        "title": table.title,
        "narrow": len(table.shown) == 1,
        "labels": table.labels,
        "columns": [f"{column.heading}{f', {column.unit}' if column.unit else ''}" for column in table.shown],
        "rows": [_row_context(table, row, position) for position, row in enumerate(table.rows)],
        "notes": table.notes,
    }


def _row_context(table: PaperTable, row: TableRow, position: int) -> dict[str, Any]:
    before = table.rows[position - 1].labels if position else ()
    # What stands in the line above is not said again; screen readers still get it.
    repeated = len(row.labels) > 1 and not row.starts and before[:1] == row.labels[:1]
    return {
        "labels": row.labels,
        "repeated": repeated,
        "starts": row.starts and position > 0,
        "cells": [_cell_context(row.cells.get(column.key), column) for column in table.shown],
    }


def _cell_context(value: Value | None, column: Quantity) -> dict[str, Any]:
    if value is None:
        return {"text": ABSENT, "small": "", "paper": "", "best": False, "scale_free": False}
    return {
        "text": column.text(value.mean) + (" †" if value.scale_free else ""),
        "small": spread_text(value, column),
        "paper": paper_text(value, column),
        "best": value.best,
        "scale_free": value.scale_free,
    }
