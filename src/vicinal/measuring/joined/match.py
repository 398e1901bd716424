"""Which network of one study stands beside which of another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vicinal.report import Results, Row

# What two rows must have in common, from all to the name of the arm alone; beyond the first only where no other row could be meant.
LEVELS = (
    ("arm", "teacher", "temperature", "budget"),
    ("arm", "temperature", "budget"),
    ("arm", "teacher", "budget"),
    ("arm", "budget"),
    ("arm",),
)


@dataclass(frozen=True, eq=False)
class Line:
    """One network in all studies; None where a study has none."""

    rows: tuple[Row | None, ...]

    @property
    def first(self) -> Row:
        """As the first study that has it names it."""
        return next(row for row in self.rows if row is not None)

    @property
    def name(self) -> str:
        """What it is called."""
        if self.first.is_teacher:
            names = dict.fromkeys(row.label for row in self.rows if row is not None)
            return f"Teacher {' / '.join(names)}"
        labels = dict.fromkeys(row.label for row in self.rows if row is not None)
        teachers = dict.fromkeys(row.teacher for row in self.rows if row is not None and row.teacher is not None)
        return " / ".join(labels) + (f" ({' / '.join(teachers)})" if teachers else "")


def lines_of(studies: Sequence[Results]) -> list[Line]:
    """The networks of all studies: teachers first, then the students in the order of the first study that has them."""
    lines: list[list[Row | None]] = []
    for k, results in enumerate(studies):
        rest = [*results.rows, *results.other_budgets]
        for level in LEVELS:
            rest = _matched(lines, rest, k, level, sole=level != LEVELS[0])
        rest = _only_students(lines, rest, k)
        lines += [[None] * k + [row] for row in rest]
        for line in lines:
            line += [None] * (k + 1 - len(line))
    found = [Line(tuple(line)) for line in lines]
    return sorted(found, key=lambda line: not line.first.is_teacher)


def _matched(lines: list[list[Row | None]], rows: list[Row], k: int, level: Iterable[str], sole: bool) -> list[Row]:
    """Put rows into the lines that they match; returns those left.

    Args:
        sole: match only where a single line and a single row, of those left, have this in common.
    """

    def key(row: Row) -> tuple[object, ...]:
        return row.is_teacher, *(getattr(row, name) for name in level)

    open_lines: dict[tuple[object, ...], list[list[Row | None]]] = {}
    for line in lines:
        if len(line) == k:
            open_lines.setdefault(key(next(row for row in line if row is not None)), []).append(line)
    counts = {key(row): sum(key(other) == key(row) for other in rows) for row in rows}
    left = []
    for row in rows:
        found = open_lines.get(key(row), [])
        if found and (not sole or (len(found) == 1 and counts[key(row)] == 1)):
            found.pop(0).append(row)
        else:
            left.append(row)
    return left


def _only_students(lines: list[list[Row | None]], rows: list[Row], k: int) -> list[Row]:
    """Two studies of one student each compare these, whatever their arms are called."""
    students = [row for row in rows if not row.is_teacher]
    before = [line for line in lines if not next(row for row in line if row is not None).is_teacher]
    if len(students) != 1 or len(before) != 1 or len(before[0]) != k:
        return rows
    before[0].append(students[0])
    return [row for row in rows if row is not students[0]]
