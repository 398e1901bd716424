"""Which student to take from a study: the recommendation of `recommend.py` from `results.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from vicinal.report.findings.rule import SIGNIFICANT, Candidate, Comparison, choose, recommendation
from vicinal.report.rows import ARM_LABELS, SCALED, TEMPERATURE_SYMBOLS, Results, Row

RULE = (
    "The rule: among the students within one standard error of the best validation accuracy, the one with the lowest "
    "validation NLL."
)


@dataclass(frozen=True)
class Choice:
    """The recommendation as the page shows it."""

    verdict: str  # the class of its mark: yes, no or undecided
    word: str
    text: str
    notes: tuple[str, ...]


def candidate_label(row: Row) -> str:
    """A student in a sentence, as in "KD + mixup at T = 4 with teacher X"."""
    label = ARM_LABELS.get(row.arm or "", row.arm or "")
    if row.temperature is not None:
        t = row.temperature
        label += f" at T = {TEMPERATURE_SYMBOLS.get(t, t) if isinstance(t, str) else f'{t:g}'}"
    return label if row.teacher is None else f"{label} with teacher {row.teacher}"


def candidate(row: Row) -> Candidate:
    """A student's means over seeds; a figure that a seed lacks is None."""

    def mean(key: str) -> float | None:
        values = row.values(key)
        return fmean(values) if len(values) == len(row.models) else None

    def validation(key: str) -> float | None:
        found = [(model.get("validation") or {}).get(key) for model in row.models]
        values = [value for value in found if value is not None]
        return fmean(values) if len(values) == len(row.models) else None

    return Candidate(
        candidate_label(row), validation("accuracy"), validation("nll"), mean("accuracy"),
        mean("ece" + SCALED if row.scale_free else "ece"), validation("ece"),
    )  # fmt: skip


def choice(results: Results) -> Choice | None:
    """The recommendation; None where fewer than two students have validation figures to be chosen by.

    Scale-free students are left out: their validation NLL and ECE are those of logits without a scale.
    """
    data = results.raw["data"]
    pool = [row for row in results.students if not row.scale_free]
    rows = [row for row in pool if None not in (candidate(row).validation_accuracy, candidate(row).validation_nll)]
    images = int(data.get("validation") or 0)
    if len(rows) < 2 or images <= 0:
        return None
    candidates = [candidate(row) for row in rows]
    picked = choose(candidates, images)
    assert picked is not None
    chosen, runner_up = picked
    test, words = _against(rows, chosen, runner_up)
    selected_on_test = results.raw["selection"] == "paper_best_test"
    found = recommendation(candidates, images, int(data.get("test") or 0), test, selected_on_test)
    assert found is not None
    notes = [RULE]
    if runner_up is not None:
        second = candidates[runner_up]
        notes.append(
            f"Second on validation: {second.label} (accuracy {second.validation_accuracy:.3f}, NLL {second.validation_nll:.3f})."
        )
    notes += words
    if left_out := len(results.students) - len(pool):
        students = f"the {left_out} students" if left_out > 1 else "the student"
        notes.append(
            f"Left out of the choice: {students} with T = σ, since validation NLL of logits without a scale says nothing."
        )
    incomplete = [candidate_label(row) for row in pool if row not in rows]
    if incomplete:
        notes.append(f"Left out, for want of validation figures: {'; '.join(incomplete)}.")
    if len(results.seeds) > 1:
        notes.append(f"Figures are means over {len(results.seeds)} seeds.")
    verdict, word = {True: ("yes", "Confirmed"), False: ("no", "Not confirmed"), None: ("undecided", "Open")}[
        found.confirmed
    ]
    return Choice(verdict, word, found.sentence, tuple(notes))


def _against(rows: Sequence[Row], chosen: int, runner_up: int | None) -> tuple[Comparison | None, list[str]]:
    """McNemar's test of the chosen one against the runner-up where one of them is the baseline, and what to say of its seeds.

    Of several seeds the one with the largest p stands for all; seeds that point both ways give no test.
    """
    if runner_up is None:
        return None, []
    if rows[runner_up].arm == "baseline":
        row, first, second = rows[chosen], "only_first", "only_second"
    elif rows[chosen].arm == "baseline":
        row, first, second = rows[runner_up], "only_second", "only_first"
    else:
        return None, []
    tests = [test for model in row.models if (test := model.get("mcnemar_versus_baseline"))]
    if not tests or len(tests) < len(row.models):
        return None, []
    found = [Comparison(int(test[first]), int(test[second]), float(test["p_value"])) for test in tests]
    least = max(found, key=lambda test: test.p_value)
    if len(found) == 1:
        return least, []
    clear = [test for test in found if test.p_value < SIGNIFICANT]
    if len({test.only_chosen > test.only_other for test in clear}) > 1:
        return None, [f"McNemar’s test against the runner-up points both ways among the {len(found)} seeds."]
    return least, [f"McNemar’s p is the largest of the {len(found)} seeds; it is below 0.05 in {len(clear)}."]
