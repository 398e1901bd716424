"""The students of a study with several budgets, an arm at each of them side by side."""

from __future__ import annotations

from dataclasses import dataclass

from vicinal.report.rows import Results, Row


@dataclass(frozen=True, eq=False)  # compared by identity, like its rows
class BudgetLine:
    """An arm with its teacher and temperature, trained for several multiples of the study's epochs."""

    row: Row  # of the study's first budget, which stands in every other table and figure
    rows: tuple[Row, ...]  # of all budgets, the shortest training first


def budget_lines(results: Results) -> list[BudgetLine]:
    """Every arm over its budgets, in the order of the students; none where the study has one budget."""
    found = []
    for row in results.students if results.other_budgets else ():
        others = [other for other in results.other_budgets if _what(other) == _what(row)]
        found.append(BudgetLine(row, tuple(sorted([row, *others], key=lambda r: r.budget))))
    return found


def _what(row: Row) -> tuple[str | None, str | None, float | str | None]:
    return row.arm, row.teacher, row.temperature


def epochs_of(row: Row) -> int:
    """Of its training, without the head's warm-up."""
    return int(row.models[0].get("epochs") or 0)


def epochs_words(row: Row) -> str:
    """1 epoch, 30 epochs."""
    return f"{epochs_of(row)} epoch{'' if epochs_of(row) == 1 else 's'}"


def images_seen(row: Row) -> int:
    """Epochs times training images: how many images, each mixed anew, it was trained on."""
    return epochs_of(row) * int(row.models[0].get("train_images") or 0)
