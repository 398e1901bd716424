"""The table "Over images seen": every arm at every budget of a study that has several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vicinal.claims import Inference
from vicinal.report.budget_comparisons import (
    TURNS,
    at_budget,
    changes_of_mixup,
    holm,
    over_all,
    pairs_of_arms,
)
from vicinal.report.budgets import BudgetLine, budget_lines, epochs_of, images_seen
from vicinal.report.rows import SCALED, Model, Results, Row, mean_and_spread
from vicinal.report.tables.core import (
    ABSENT,
    SCALE_FREE_NOTE,
    Cell,
    Column,
    Line,
    TableSection,
    csv_text,
    identity,
    shown_markdown,
)

# key, heading, meaning, whether in percent
_SHOWN = (
    ("accuracy", "Accuracy %", "share of test images classified correctly", True),
    ("nll", "NLL", "negative log-likelihood, nats", False),
    ("ece", "ECE", "expected calibration error", False),
    ("nll" + SCALED, "NLL scaled", "negative log-likelihood after temperature scaling, nats", False),
    ("ece" + SCALED, "ECE scaled", "expected calibration error after temperature scaling", False),
)
_KEYS = tuple(key for key, *_ in _SHOWN)


def budgets_context(results: Results) -> dict[str, Any] | None:
    """The table as the page shows it; None where the study has one budget."""
    lines = budget_lines(results)
    return {"columns": (*_COUNTS, *_FIGURES), "sections": _sections(lines), "notes": _notes(results)} if lines else None


def budgets_markdown(results: Results) -> str | None:
    """The table in Markdown; None as `budgets_context`."""
    lines = budget_lines(results)
    return shown_markdown((*_COUNTS, *_FIGURES), _sections(lines), _notes(results)) if lines else None


def budgets_csv(results: Results) -> str | None:
    """One line for each student, budget and seed; None as `budgets_context`."""
    lines = budget_lines(results)
    if not lines:
        return None
    who = ["role", "name", "arm", "teacher", "temperature", "seed"]
    header = [*who, "selection", "budget", "epochs", "images_seen", *_KEYS]
    rows = [
        [*identity(row, m), results.selection, row.budget, epochs_of(row), images_seen(row), *map(m.get, _KEYS)]
        for line in lines
        for row in line.rows
        for m in row.models
    ]
    return csv_text(header, rows)


def budget_comparisons_csv(results: Results) -> str | None:
    """The comparisons behind the sentences about budgets, in points; None as `budgets_context`."""
    if not budget_lines(results):
        return None
    header = [
        "first",
        "second",
        "selection",
        "quantity",
        "difference",
        "lower",
        "upper",
        "p_value",
        "smallest_detectable",
    ]
    pairs, lines = pairs_of_arms(results), []
    for pair, corrected in zip(pairs, holm([pair.turn[0] for pair in pairs]), strict=True):
        who = [pair.first.row.name, pair.second.row.name, results.selection]
        rows = zip(pair.first.rows, pair.gaps, strict=True)
        lines += [[*who, at_budget(row), *_numbers(gap)] for row, gap in rows]
        lines.append([*who, TURNS, None, None, None, corrected, None])
    for one in changes_of_mixup(results):
        who = [one.line.row.name, one.plain.row.name, results.selection]
        lines.append([*who, over_all(one.line), *_numbers(one.change)])
    return csv_text(header, lines)


def _numbers(found: Inference) -> list[float]:
    return [found.value, *found.interval, found.p_value(), found.detectable]


def _scalar(key: str) -> Callable[[Model, str | None], float | None]:
    return lambda model, _: model.get(key)


_COUNTS = (
    Column("Epochs", "of the training, without a head’s warm-up", _scalar("epochs")),
    Column("Images seen", "epochs times training images", _scalar("epochs")),
)
_FIGURES = tuple(Column(heading, meaning, _scalar(key), percent=percent) for key, heading, meaning, percent in _SHOWN)


def _sections(lines: Sequence[BudgetLine]) -> list[TableSection]:
    teachers = list(dict.fromkeys(line.row.teacher for line in lines))
    return [
        TableSection(
            "Without a teacher" if teacher is None else f"Teacher {teacher}",
            tuple(_line(line, row) for line in lines if line.row.teacher == teacher for row in line.rows),
        )
        for teacher in teachers
    ]


def _line(line: BudgetLine, row: Row) -> Line:
    cells = [_cell(row, column, key) for column, key in zip(_FIGURES, _KEYS, strict=True)]
    counts = (Cell(f"{epochs_of(row):,}"), Cell(f"{images_seen(row):,}"))
    return Line(line.row, row.label + (" †" if row.scale_free else ""), (*counts, *cells))


def _cell(row: Row, column: Column, key: str) -> Cell:
    found = mean_and_spread(row.values(key))
    if found is None:
        return Cell(ABSENT)
    mean, spread = found
    raw = row.scale_free and key in ("nll", "ece")
    tooltip = "" if spread is None else f"mean ± sample standard deviation over {len(row.models)} seeds"
    return Cell(column.text(mean), "" if spread is None else column.spread_text(spread), tooltip, raw)


def _notes(results: Results) -> list[str]:
    notes = [
        results.selection_sentence,
        "Every line is a training of its own, with its schedule stretched to its epochs. Images seen: epochs times training images; "
        "a head’s warm-up is not counted.",
    ]
    if len(results.seeds) > 1:
        notes.append(f"Mean ± sample standard deviation over seeds {', '.join(map(str, results.seeds))}.")
    if any(line.row.scale_free for line in budget_lines(results)):
        notes.append(SCALE_FREE_NOTE)
    return notes
