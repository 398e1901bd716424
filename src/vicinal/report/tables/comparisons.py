"""comparisons.csv: every two students, and every two teachers, compared."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from vicinal.report.comparisons import QUANTITIES, Compared, compared
from vicinal.report.rows import SCALED, Results, Row
from vicinal.report.tables.core import csv_text


def comparisons_csv(results: Results) -> str:
    """A line for every two students or teachers and every quantity, full precision: difference, interval, p and the smallest
    difference that would have been found in four of five cases.

    Of the baseline also the one that temperature scaling makes of it, against the others as measured.
    """
    header = ["first", "second", "selection", "quantity", "quantity_second", "unit", "seeds", "difference"]
    header += ["lower", "upper", "p_value", "smallest_detectable"]
    lines: list[list[Any]] = []
    for rows in (results.students, results.teachers):
        for first, second in combinations(rows, 2):
            if first.is_teacher and _base(first) == _base(second):
                continue  # one network at two scales of its logits: what differs is no finding
            for key in QUANTITIES:
                lines += _lines(results, compared(results, first, second, key))
    for baseline in results.undistilled:
        if baseline.arm == "baseline":
            for row in results.students:
                for key in ("nll", "brier"):
                    lines += _lines(results, compared(results, row, baseline, key, key + SCALED))
    return csv_text(header, lines)


def _base(row: Row) -> str:
    """The name of the teacher whose network a teacher is, at whatever scale."""
    return row.scaled_from or row.label


def _lines(results: Results, found: Compared | None) -> list[list[Any]]:
    if found is None:
        return []
    start = [found.first.name, found.second.name, results.selection, found.key, found.key_second, found.effect.unit]
    seeds = min(len(found.first.models), len(found.second.models))
    inferred = found.inference
    known = [None] * 4 if inferred is None else [*inferred.interval, inferred.p_value(), inferred.detectable]
    return [[*start, seeds, found.effect.value, *known]]
