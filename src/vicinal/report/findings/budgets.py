"""What longer training changes, in sentences: the order of the arms, and what mixup brings (`budget_comparisons` has the tests)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from vicinal.claims import Inference, listed, p_value_text
from vicinal.report.budget_comparisons import (
    TURNS,
    Change,
    Pair,
    at_budget,
    changes_of_mixup,
    holm,
    over_all,
    pairs_of_arms,
)
from vicinal.report.budgets import BudgetLine, epochs_of, epochs_words
from vicinal.report.evidence import margins_of
from vicinal.report.findings.finding import Finding, Quote, Verdict
from vicinal.report.rows import Results

ORDER_QUESTION = "Does longer training change the order of the arms?"
MIXUP_QUESTION = "Does mixup need longer training?"
MOST_NAMED = 6  # pairs of arms in a sentence
TABLE = "budget_comparisons"


def over_budgets(results: Results) -> list[Finding]:
    """What the budgets of a study answer; nothing where it has one."""
    return [found for found in (_order(results), _mixup(results)) if found is not None]


@dataclass
class _Said:
    """Says numbers of the table of comparisons, and keeps what it said."""

    results: Results
    quotes: list[Quote] = field(default_factory=list)

    def points(self, found: Inference, first: BudgetLine, second: BudgetLine, quantity: str) -> str:
        """A difference with its interval."""
        values = (found.value, *found.interval)
        shown = [f"{value:+.2f}".replace("-", "−") for value in values]
        for text, value, column in zip(shown, values, ("difference", "lower", "upper"), strict=True):
            self._quote(text, value, first, second, quantity, column)
        return f"{shown[0]} points ({shown[1]} to {shown[2]})"

    def detectable(self, found: Inference, first: BudgetLine, second: BudgetLine, quantity: str, what: str) -> str:
        """The smallest difference that would have been found in four of five cases, as a clause."""
        if not found.could_be_found:
            return f"no {what} that there can be would have been found"
        shown = f"{found.detectable:.1f}"
        self._quote(shown, found.detectable, first, second, quantity, "smallest_detectable")
        return f"a {what} of {shown} points would have been found"

    def p_value(self, p: float, pair: Pair) -> str:
        """Of a change of places, after Holm's correction."""
        shown = p_value_text(p)
        for text in re.findall(r"= (\S+)", shown):
            self._quote(text, p, pair.first, pair.second, TURNS, "p_value")
        return shown

    def name(self, line: BudgetLine) -> str:
        """An arm; with its teacher where there are several."""
        return line.row.name if len(self.results.teachers) > 1 else line.row.label

    def _quote(self, shown: str, value: float, first: BudgetLine, second: BudgetLine, *what: str) -> None:
        quantity, column = what
        self.quotes.append(Quote(shown, value, TABLE, first.row.name, second.row.name, quantity, column))


def _order(results: Results) -> Finding | None:
    pairs = pairs_of_arms(results)
    if not pairs:
        return None
    said, level = _Said(results), 1 - results.confidence_level
    corrected = holm([pair.turn[0] for pair in pairs])
    turned = [(pair, p) for pair, p in zip(pairs, corrected, strict=True) if p < level]
    opened = [pair for pair in pairs if pair.p_same >= level]
    at = f"{listed([str(epochs_of(row)) for row in pairs[0].first.rows])} epochs"
    verdict: Verdict = "yes" if turned else "undecided" if opened else "no"
    several = len(pairs) > 1
    if turned:
        text = "; ".join(_turned(said, pair, p) for pair, p in turned)
        text += f", after Holm’s correction for {len(pairs)} pairs of arms." if several else "."
    elif not opened:
        arms = f"All {len(pairs)} pairs of arms" if several else "The two arms"
        text = f"{arms} stand in one order of accuracy at {at}, clear at each of them."
    else:
        text = _nothing_clear(said, pairs, opened, corrected, at)
    return Finding(ORDER_QUESTION, verdict, text, tuple(said.quotes), pairs[0].gaps[0].of_networks)


def _turned(said: _Said, pair: Pair, p: float) -> str:
    _, i, j = pair.turn
    after = []
    for k in (i, j):
        row = pair.first.rows[k]
        shown = said.points(pair.gaps[k], pair.first, pair.second, at_budget(row))
        after.append(f"after {epochs_words(row)}, {shown}")
    first, second = said.name(pair.first), said.name(pair.second)
    return f"{first} is more accurate than {second} {after[0]}, and less accurate {after[1]}, {said.p_value(p, pair)}"


def _nothing_clear(
    said: _Said, pairs: Sequence[Pair], opened: Sequence[Pair], corrected: Sequence[float], at: str
) -> str:
    several = len(pairs) > 1
    least = min(range(len(pairs)), key=lambda k: corrected[k])
    gap, pair, k = max(
        ((gap, pair, k) for pair in opened for k, gap in enumerate(pair.gaps)), key=lambda one: one[0].detectable
    )
    open_pairs = [f"{said.name(one.first)} against {said.name(one.second)}" for one in opened[:MOST_NAMED]]
    open_pairs += [f"{len(opened) - MOST_NAMED} more"] if len(opened) > MOST_NAMED else []
    alike = len(pairs) - len(opened)
    count = f"{alike} of {len(pairs)} pairs of arms stand clearly" if several else "the two arms do not stand"
    detectable = said.detectable(gap, pair.first, pair.second, at_budget(pair.first.rows[k]), "difference")
    return (
        f"No change of places is clear (least {said.p_value(corrected[least], pairs[least])}"
        f"{' after Holm’s correction' * several}), and {count} in one order of accuracy at {at}. Open at one or more: "
        f"{listed(open_pairs)}; {detectable}."
    )


def _mixup(results: Results) -> Finding | None:
    found, said = changes_of_mixup(results), _Said(results)
    if not found:
        return None
    verdict = _grows([one.change for one in found], 1 - results.confidence_level, margins_of(results)["points"])
    first, last = (epochs_of(found[0].line.rows[k]) for k in (0, -1))
    leads = [
        _lead(said, one, "the lead in accuracy of" if one is found[0] else "that of", one is found[0]) for one in found
    ]
    text = {
        "yes": "What mixup brings grows with the training.",
        "no": "What mixup brings does not grow with the training.",
    }.get(verdict, "")
    if not text:
        widest = max(found, key=lambda one: one.change.detectable)
        shown = said.detectable(widest.change, widest.line, widest.plain, over_all(widest.line), "change")
        text = f"{shown[0].upper()}{shown[1:]}."
    text += f" From {first} to {last} epochs {listed(leads)}."
    return Finding(MIXUP_QUESTION, verdict, text, tuple(said.quotes), found[0].change.of_networks)


def _lead(said: _Said, one: Change, start: str, says_changes: bool) -> str:
    by = said.points(one.change, one.line, one.plain, over_all(one.line))
    return f"{start} {said.name(one.line)} over {said.name(one.plain)}{' changes' * says_changes} by {by}"


def _grows(changes: Sequence[Inference], level: float, margin: float) -> Verdict:
    """Whether every lead grows; no, where one clearly falls (Holm) or all stay within the margin (two one-sided tests)."""
    if min(holm([change.p_below() for change in changes])) < level / 2:
        return "no"
    if all(change.p_above() < level / 2 for change in changes):
        return "yes"
    return "no" if all(change.p_outside(margin) < 0.05 for change in changes) else "undecided"
