"""What is compared over a study's budgets, for its sentences and for the table that they quote: accuracy, in points.

An order that turns has to be clear on both sides (the larger of two one-sided p) for some two budgets of some two arms, so it is
corrected for the budgets (Bonferroni) and for the pairs of arms (Holm 1979). An order that stays has to be clear at every budget: the
largest p is that of the whole (Berger 1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from vicinal.claims import Inference, Number, difference, infer
from vicinal.report.budgets import BudgetLine, budget_lines, epochs_of, epochs_words
from vicinal.report.evidence import scalar
from vicinal.report.rows import Results, Row

TURNS = "change of places"
WITHOUT_MIXUP = {"mixup": "baseline", "kd_mixup": "kd"}  # what an arm is set beside, to see what mixing brings


@dataclass(frozen=True, eq=False)
class Pair:
    """Two arms, and the accuracy of the first less that of the second at each budget."""

    first: BudgetLine
    second: BudgetLine
    gaps: tuple[Inference, ...]

    @property
    def p_same(self) -> float:
        """Two-sided p of "they are not in one order at every budget"."""
        above, below = (max(p) for p in ([gap.p_above() for gap in self.gaps], [gap.p_below() for gap in self.gaps]))
        return min(1.0, 2 * min(above, below))

    @property
    def turn(self) -> tuple[float, int, int]:
        """p of "they never change places", and the two budgets at which it is clearest that they do."""
        k, gaps = len(self.gaps), self.gaps
        p, _, i, j = min(
            (max(gaps[i].p_above(), gaps[j].p_below()), gaps[j].value - gaps[i].value, i, j)
            for i, j in permutations(range(k), 2)
        )
        return min(1.0, k * (k - 1) * p), i, j


@dataclass(frozen=True, eq=False)
class Change:
    """How the lead of an arm with mixup over the same arm without changes from the shortest to the longest training."""

    line: BudgetLine
    plain: BudgetLine
    change: Inference


def pairs_of_arms(results: Results) -> list[Pair]:
    """Every two arms of which each budget's difference and its error are known."""
    found = []
    for first, second in combinations(_whole(results), 2):
        gaps = [_inferred(_gap(results, a, b)) for a, b in zip(first.rows, second.rows, strict=True)]
        known = tuple(gap for gap in gaps if gap is not None)
        if len(known) == len(gaps):
            found.append(Pair(first, second, known))
    return found


def changes_of_mixup(results: Results) -> list[Change]:
    """Every arm with mixup beside the same arm without: of the same teacher and temperature."""
    lines, found = _whole(results), []
    for line in lines:
        arm = WITHOUT_MIXUP.get(line.row.arm or "")
        key = (arm, line.row.teacher, line.row.temperature)
        plain = next((one for one in lines if (one.row.arm, one.row.teacher, one.row.temperature) == key), None)
        leads = [] if plain is None else [_gap(results, line.rows[k], plain.rows[k]) for k in (0, -1)]
        known = [lead for lead in leads if lead is not None]
        change = _inferred(difference(known[1], known[0])) if len(known) == 2 else None
        if plain is not None and change is not None:
            found.append(Change(line, plain, change))
    return found


def at_budget(row: Row) -> str:
    """What a difference at a budget is called in the table."""
    return f"accuracy after {epochs_words(row)}"


def over_all(line: BudgetLine) -> str:
    """What a change from the shortest to the longest training is called in the table."""
    return f"accuracy after {epochs_words(line.rows[-1])} less after {epochs_of(line.rows[0])}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    adjusted, largest = [0.0] * len(order), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


def _whole(results: Results) -> list[BudgetLine]:
    """The arms that were trained at every budget."""
    lines = budget_lines(results)
    budgets = max((len(line.rows) for line in lines), default=0)
    return [line for line in lines if len(line.rows) == budgets > 1]


def _gap(results: Results, a: Row, b: Row) -> Number | None:
    first, second = scalar(results, a, "accuracy", 100.0), scalar(results, b, "accuracy", 100.0)
    return None if first is None or second is None else difference(first, second)


def _inferred(gap: Number | None) -> Inference | None:
    return None if gap is None else infer(gap)
