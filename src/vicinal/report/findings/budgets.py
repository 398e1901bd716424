"""What longer training changes: the order of the arms, and what mixup brings.

Both answers hold at the study's confidence level. An order that turns has to be clear on both sides (the larger of two one-sided p)
for some two budgets of some two arms, so it is corrected for the budgets (Bonferroni) and for the pairs of arms (Holm 1979). An
order that stays has to be clear at every budget for every pair: then the largest p is that of the whole (Berger 1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from vicinal.claims import Inference, Number, difference, infer, listed, p_value_text
from vicinal.report.budgets import BudgetLine, budget_lines, epochs_of
from vicinal.report.evidence import margins_of, scalar
from vicinal.report.findings.finding import Finding, Verdict
from vicinal.report.rows import Results, Row

ORDER_QUESTION = "Does longer training change the order of the arms?"
MIXUP_QUESTION = "Does mixup need longer training?"
WITHOUT_MIXUP = {"mixup": "baseline", "kd_mixup": "kd"}  # what an arm is set beside, to see what mixing brings


def over_budgets(results: Results) -> list[Finding]:
    """What the budgets of a study answer; nothing where it has one."""
    lines = budget_lines(results)
    budgets = max((len(line.rows) for line in lines), default=0)
    whole = [line for line in lines if len(line.rows) == budgets > 1]
    return [found for found in (_order(results, whole), _mixup(results, whole)) if found is not None]


# --- the order of the arms --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """Two arms, and the accuracy of the first less that of the second at each budget, points."""

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
        found = [
            (max(gaps[i].p_above(), gaps[j].p_below()), gaps[j].value - gaps[i].value, i, j)
            for i, j in permutations(range(k), 2)
        ]
        p, _, i, j = min(found)
        return min(1.0, k * (k - 1) * p), i, j


def _order(results: Results, lines: Sequence[BudgetLine]) -> Finding | None:
    pairs = [_Pair(a, b, gaps) for a, b in combinations(lines, 2) if (gaps := _gaps(results, a.rows, b.rows))]
    if not pairs or len(pairs[0].gaps) < 2:
        return None
    level = 1 - results.confidence_level
    corrected = holm([pair.turn[0] for pair in pairs])
    turned = [(p, pair) for p, pair in zip(corrected, pairs, strict=True) if p < level]
    alike = [pair for pair in pairs if pair.p_same < level]
    at = listed([f"{epochs_of(row)}" for row in lines[0].rows]) + " epochs"
    several = len(pairs) > 1
    of_pairs = f"all {len(pairs)} pairs of arms" if several else "the two arms"
    verdict: Verdict
    if turned:
        verdict = "yes"
        text = f"Yes: {'; '.join(_turned_words(results, pair, p) for p, pair in turned)}"
        text += f", after Holm’s correction for {len(pairs)} pairs of arms." if several else "."
    elif len(alike) == len(pairs):
        verdict = "no"
        text = f"No: {of_pairs} stand in one order of accuracy at {at}, clear at each of them."
    else:
        verdict = "undecided"
        opened = [pair for pair in pairs if pair not in alike]
        least = max(gap.detectable for pair in opened for gap in pair.gaps)
        names = listed([f"{_name(results, pair.first)} against {_name(results, pair.second)}" for pair in opened])
        count = f"{len(alike)} of {len(pairs)} pairs of arms stand" if several else "the two arms do not stand"
        text = (
            f"No change of places is clear (least {p_value_text(min(corrected))}{' after Holm’s correction' * several}), and {count} "
            f"{'clearly ' * several}in one order of accuracy at {at}. Open at one or more: {names}; differences of {least:.1f} points "
            "would have been found."
        )
    return Finding(ORDER_QUESTION, verdict, text, of_networks=pairs[0].gaps[0].of_networks)


def _turned_words(results: Results, pair: _Pair, p: float) -> str:
    _, i, j = pair.turn
    after = [f"after {epochs_of(pair.first.rows[k])} epochs, {_points(pair.gaps[k])}" for k in (i, j)]
    first, second = _name(results, pair.first), _name(results, pair.second)
    return f"{first} is more accurate than {second} {after[0]}, and less accurate {after[1]}, {p_value_text(p)}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    adjusted, largest = [0.0] * len(order), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


# --- what mixup brings ------------------------------------------------------------------------------------------------


def _mixup(results: Results, lines: Sequence[BudgetLine]) -> Finding | None:
    """How the lead of an arm with mixup over the same arm without changes from the shortest to the longest training."""
    found = []
    for line in lines:
        plain = _without_mixup(line, lines)
        change = None if plain is None else _change(results, line, plain)
        if plain is not None and change is not None:
            found.append((line, plain, change))
    if not found:
        return None
    tail, margin = (1 - results.confidence_level) / 2, margins_of(results)["points"]
    changes = [change for *_, change in found]
    falls = min(holm([change.p_below() for change in changes]))
    verdict: Verdict = "undecided"
    if falls < tail or all(change.p_outside(margin) < 0.05 for change in changes):
        verdict = "no"
    elif all(change.p_above() < tail for change in changes):
        verdict = "yes"
    first, last = (epochs_of(found[0][0].rows[k]) for k in (0, -1))
    whose = [f"of {_name(results, a)} over {_name(results, b)}" for a, b, _ in found]
    leads = [f"the lead in accuracy {whose[0]} changes by {_points(changes[0])}"]
    leads += [f"that {who} by {_points(change)}" for who, change in zip(whose[1:], changes[1:], strict=True)]
    answer = {
        "yes": "Yes: what mixup brings grows with the training.",
        "no": "No: what mixup brings does not grow with the training.",
        "undecided": f"Undecided: a change of {max(change.detectable for change in changes):.1f} points would have been found.",
    }[verdict]
    text = f"{answer} From {first} to {last} epochs {listed(leads)}."
    return Finding(MIXUP_QUESTION, verdict, text, of_networks=changes[0].of_networks)


def _without_mixup(line: BudgetLine, lines: Sequence[BudgetLine]) -> BudgetLine | None:
    """The same arm without mixup: of the same teacher, and of the same temperature where there is one."""
    arm = WITHOUT_MIXUP.get(line.row.arm or "")
    own = [other for other in lines if (other.row.arm, other.row.teacher) == (arm, line.row.teacher)]
    return next((other for other in own if other.row.temperature == line.row.temperature), None)


def _change(results: Results, line: BudgetLine, plain: BudgetLine) -> Inference | None:
    leads = [_gap(results, line.rows[k], plain.rows[k]) for k in (0, -1)]
    return None if leads[0] is None or leads[1] is None else infer(difference(leads[1], leads[0]))


# --- shared -----------------------------------------------------------------------------------------------------------


def _gap(results: Results, a: Row, b: Row) -> Number | None:
    """Accuracy of one row less that of another, points."""
    first, second = scalar(results, a, "accuracy", 100.0), scalar(results, b, "accuracy", 100.0)
    return None if first is None or second is None else difference(first, second)


def _gaps(results: Results, first: Sequence[Row], second: Sequence[Row]) -> tuple[Inference, ...]:
    """At each budget; nothing where one is not known with its error."""
    found = []
    for a, b in zip(first, second, strict=True):
        gap = _gap(results, a, b)
        inferred = None if gap is None else infer(gap)
        if inferred is None:
            return ()
        found.append(inferred)
    return tuple(found)


def _name(results: Results, line: BudgetLine) -> str:
    return line.row.name if len(results.teachers) > 1 else line.row.label


def _points(found: Inference) -> str:
    low, high = found.interval
    return f"{found.value:+.2f} points ({low:+.2f} to {high:+.2f})".replace("-", "−")
